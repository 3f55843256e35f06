(function () {
  "use strict";
  var root = document.documentElement;
  var last = null;
  var VERDICTS = {
    running: ["…", "running", "Running"],
    converged: ["✓", "certified", "Converged: the potential is certified"],
    budget: ["■", "budget", "Stopped by budget"],
    failed: ["✕", "failed", "Failed"],
    interrupted: ["‖", "budget", "Interrupted: run the same command again to go on"]
  };
  function at(id) { return document.getElementById(id); }
  function say(id, text) { at(id).textContent = text; }
  function duration(seconds) {
    if (seconds < 60) { return Math.round(seconds) + " s"; }
    var minutes = Math.floor(seconds / 60);
    if (minutes < 60) { return minutes + " min " + Math.round(seconds % 60) + " s"; }
    return Math.floor(minutes / 60) + " h " + (minutes % 60) + " min";
  }
  function cell(row, text, name) {
    var made = row.appendChild(document.createElement("td"));
    made.textContent = text;
    if (name) { made.className = name; }
  }
  function rows(id, list, fill) {
    var body = document.createDocumentFragment();
    list.forEach(function (item) {
      var row = document.createElement("tr");
      fill(row, item);
      body.appendChild(row);
    });
    at(id).replaceChildren(body);
  }
  function head(data) {
    var verdict = VERDICTS[data.status] || ["?", "budget", data.status];
    var name = data.elements.join("–") || "Campaign";
    say("title", name + " potential");
    document.title = name + ": " + data.status;
    say("workdir", data.workdir);
    at("verdict").className = "verdict " + verdict[1];
    say("symbol", verdict[0]);
    say("state", verdict[2]);
    say("reason", data.reason || data.last);
  }
  function since(data) {
    if (!data.step) { say("step", "–"); return; }
    var passed = data.step_since_s + (Date.now() - data.received) / 1000;
    var where = data.step_iteration ? "cycle " + data.step_iteration : "preparation";
    say("step", where + ": " + data.step_words + ", for " + duration(passed));
  }
  function numbers(data) {
    var bar = at("bar");
    bar.hidden = !data.total;
    bar.max = data.total || 1;
    bar.value = data.done || 0;
    say("done", data.total ? data.done + " of " + data.total : "–");
    at("label-bar").max = data.label_budget || 1;
    at("label-bar").value = data.labels;
    say("labels", data.labels + " of at most " + data.label_budget +
      (data.failed_labels ? ", " + data.failed_labels + " failed" : ""));
    var energy = data.energy_rmse_eV_per_atom, force = data.force_rmse_eV_per_A;
    var goals = data.targets;
    say("error", energy === null || force === null ? "not known yet" :
      (1000 * energy).toPrecision(3) + " meV/atom" +
      (goals.energy_rmse_eV_per_atom ? " (goal " + 1000 * goals.energy_rmse_eV_per_atom + ")" : "") +
      ", " + (1000 * force).toPrecision(3) + " meV/Å" +
      (goals.force_rmse_eV_per_A ? " (goal " + 1000 * goals.force_rmse_eV_per_A + ")" : ""));
    say("wall", duration(data.wall_s));
  }
  function trace(data, key, name, colour, symbol, dash) {
    var known = data.curve.filter(function (row) { return row.labels !== null && row[key]; });
    return {
      x: known.map(function (row) { return row.labels; }),
      y: known.map(function (row) { return 1000 * row[key]; }),
      name: name, mode: "lines+markers",
      line: { color: colour, dash: dash, width: 2 }, marker: { symbol: symbol, size: 8 }
    };
  }
  function curve(data, id, key, unit) {
    var traces = [trace(data, "train_" + key, "train", "#56b4e9", "circle", "dot"),
      trace(data, key, "test", "#d55e00", "diamond", "solid")];
    var goal = data.targets[key];
    var drawn = traces.some(function (one) { return one.x.length; });
    if (drawn) {
      Plotly.react(id, traces, {
        margin: { l: 62, r: 14, t: 30, b: 46 }, showlegend: true,
        legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
        xaxis: { title: { text: "labels" }, tickformat: "d" },
        yaxis: { title: { text: key.split("_")[0] + " RMSE (" + unit + ")" }, type: "log", dtick: "D1" },
        shapes: goal ? [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: 1000 * goal, y1: 1000 * goal,
          line: { color: "#5b6673", width: 1.4, dash: "dash" } }] : []
      }, { responsive: true, displayModeBar: false });
    }
    return drawn;
  }
  function show(data) {
    last = data;
    data.received = Date.now();
    head(data);
    since(data);
    numbers(data);
    at("curves").hidden = false; // Plotly measures the place it draws in
    var drawn = curve(data, "energy-curve", "energy_rmse_eV_per_atom", "meV/atom");
    drawn = curve(data, "force-curve", "force_rmse_eV_per_A", "meV/Å") || drawn;
    at("no-curve").hidden = drawn;
    at("curves").hidden = !drawn;
    rows("iterations", data.iterations, function (row, found) {
      cell(row, found.iteration);
      cell(row, found.passed ? "✓ go" : "✕ no-go", found.passed ? "word go" : "word stop");
      cell(row, found.checks.filter(function (c) { return !c.passed; })
        .map(function (c) { return c.name; }).join(", ") || "–");
    });
    rows("log", data.log.slice().reverse(), function (row, line) {
      cell(row, new Date(1000 * line.time).toLocaleTimeString(), "unit");
      cell(row, line.iteration || "–");
      cell(row, line.step + ": " + line.message, "long");
    });
    say("log-note", data.log_lines > data.log.length ?
      "The newest " + data.log.length + " of " + data.log_lines + " lines." : "Newest first.");
    root.setAttribute("data-status", data.status);
  }
  function link(text, name) {
    at("link").className = "link " + name;
    say("link", text);
  }
  var source = new EventSource("/api/events");
  source.addEventListener("open", function () { link("connected", "on"); });
  source.addEventListener("error", function () { link("connection lost, trying again", "off"); });
  source.addEventListener("campaign", function (event) {
    link("connected", "on"); // also after a problem that has passed
    show(JSON.parse(event.data));
  });
  source.addEventListener("problem", function (event) {
    link(JSON.parse(event.data).error, "off");
  });
  setInterval(function () { if (last) { since(last); } }, 1000);
})();
