// Registers the pair styles pace and pace/extrapolation of LAMMPS' ML-PACE package as a plugin.
// Compiled against the headers of the LAMMPS that loads it; LAMMPS_RELEASE is that one's date.

#include "lammpsplugin.h"

#include "pair_pace.h"
#include "pair_pace_extrapolation.h"

using namespace LAMMPS_NS;

static Pair *create_pace(LAMMPS *lmp)
{
  return new PairPACE(lmp);
}

static Pair *create_pace_extrapolation(LAMMPS *lmp)
{
  return new PairPACEExtrapolation(lmp);
}

extern "C" void lammpsplugin_init(void *lmp, void *handle, void *regfunc)
{
  auto register_plugin = (lammpsplugin_regfunc) regfunc;
  lammpsplugin_t plugin;

  plugin.version = LAMMPS_RELEASE;
  plugin.style = "pair";
  plugin.author = "ICAMS, Ruhr University Bochum";
  plugin.handle = handle;

  plugin.name = "pace";
  plugin.info = "atomic cluster expansion";
  plugin.creator.v1 = (lammpsplugin_factory1 *) &create_pace;
  (*register_plugin)(&plugin, lmp);

  plugin.name = "pace/extrapolation";
  plugin.info = "atomic cluster expansion with its extrapolation grade";
  plugin.creator.v1 = (lammpsplugin_factory1 *) &create_pace_extrapolation;
  (*register_plugin)(&plugin, lmp);
}
