/* Pi by the midpoint rule on 1e8 points, shared among the ranks: the integral of 4 / (1 + x^2)
   from 0 to 1. Each rank says where it ran; rank 0 prints the sum and its error. */
#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    const long points = 100000000L;
    const double width = 1.0 / (double)points;
    double own = 0.0, pi = 0.0;
    int rank, ranks;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    for (long i = rank; i < points; i += ranks) {
        const double x = width * ((double)i + 0.5);
        own += 4.0 / (1.0 + x * x);
    }
    MPI_Reduce(&own, &pi, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    const char *node = getenv("SLURMD_NODENAME");
    printf("rank %d of %d on %s\n", rank, ranks, node ? node : "this machine");
    fflush(stdout);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) {
        printf("pi = %.12f, error %.1e\n", pi * width, fabs(pi * width - acos(-1.0)));
    }
    MPI_Finalize();
    return 0;
}
