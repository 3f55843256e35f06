(function () {
  "use strict";
  var root = document.documentElement;
  var drawn = [];
  var failed = 0;
  var figures = JSON.parse(document.getElementById("report-figures").textContent);
  var config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: window.matchMedia("(hover: hover)").matches ? "hover" : false,
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    toImageButtonOptions: { format: "svg" }
  };
  function explain(place, error) {
    failed += 1;
    place.textContent = "This plot could not be drawn here (" + error + "). The tables hold its numbers.";
    place.className += " nojs";
  }
  document.querySelectorAll("[data-figure]").forEach(function (place) {
    var figure = figures[place.getAttribute("data-figure")];
    place.textContent = "";
    try {
      Plotly.newPlot(place, figure.data, figure.layout, config);
      drawn.push(place);
    } catch (error) {
      explain(place, error);
    }
  });
  root.setAttribute("data-plots-drawn", String(drawn.length));
  root.setAttribute("data-plots-failed", String(failed));

  // A printer's page is not the window: give every plot the size its place has on A4.
  var PAGE = 686, GAP = 15;
  var opened = [];
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details:not([open])").forEach(function (part) {
      part.open = true;
      opened.push(part);
    });
    drawn.forEach(function (place) {
      var figure = place.closest("figure");
      var wide = figure.classList.contains("wide");
      var tall = figure.parentElement.classList.contains("parity");
      Plotly.relayout(place, {
        width: wide ? PAGE : Math.floor((PAGE - GAP) / 2),
        height: tall ? 340 : 270
      });
    });
  });
  window.addEventListener("afterprint", function () {
    opened.splice(0).forEach(function (part) { part.open = false; });
    drawn.forEach(function (place) {
      Plotly.relayout(place, { width: null, height: null, autosize: true });
    });
  });
})();
