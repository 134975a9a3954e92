extension StatusPage {
    /// Builds the page from `/status`. Text goes in by `textContent` alone, so that no name can become markup.
    static let script = #"""
        "use strict";
        const el = (tag, cls, ...kids) => { const e = document.createElement(tag); if (cls) e.className = cls;
          for (const k of kids) if (k != null) e.append(k); return e; };
        const num = n => n == null ? "–" : n.toLocaleString("en-US");
        const short = n => Math.abs(n) < 99.95 ? String(Math.round(n * 10) / 10) : Math.round(n).toLocaleString("en-US");
        const bytes = n => { if (n == null) return "–"; let u = 0; const s = ["B", "KiB", "MiB", "GiB", "TiB"];
          while (Math.abs(n) >= 1024 && u < 4) { n /= 1024; u++; } return short(n) + " " + s[u]; };
        const span = s => { if (s == null) return "–"; if (s < 1) return short(s * 1000) + " ms"; if (s < 120) return short(s) + " s";
          const m = Math.floor(s / 60), h = Math.floor(m / 60); if (m < 120) return m + " min";
          return h < 48 ? h + " h " + m % 60 + " min" : Math.floor(h / 24) + " d " + h % 24 + " h"; };
        const facts = list => { const d = el("dl", "facts");
          for (const [k, v, cls] of list) if (v != null) d.append(el("div", "", el("dt", "", k), el("dd", cls, v))); return d; };
        const section = (title, ...kids) => el("section", "", el("h2", "", title), ...kids);
        const table = (head, rows, cls) => { const t = el("table", cls);
          t.append(el("thead", "", el("tr", "", ...head.map(h => { const c = el("th", h[1], h[0]); c.scope = "col"; return c; }))));
          t.append(el("tbody", "", ...rows.map(r => el("tr", "", ...r.map((v, i) => el("td", head[i][1], v)))))); return t; };
        const last = { rows: null, time: 0, rate: null };
        function ladder(s) {
          const steps = [["Server", s.server_lsn, s.server_lsn == null ? null : 0], ["Received", s.received_lsn, s.received_lag_bytes],
            ["Stored in Kafka", s.stored_lsn, s.stored_lag_bytes], ["Confirmed to the slot", s.confirmed_lsn, s.confirmed_lag_bytes],
            ["Slot restarts at", s.restart_lsn, s.restart_lag_bytes]];
          const most = Math.max(1, ...steps.map(x => x[2] || 0));
          const bar = n => { const i = el("i"); i.style.width = (n ? Math.max(0, n / most * 100) : 0) + "%"; if (!n) i.style.minWidth = 0;
            return el("div", "track", i); };
          const t = table([["Step", ""], ["LSN", ""], ["Distance from the server", ""], ["Behind", "n"]],
            steps.map(([k, l, n]) => [k, el("span", "lsn", l == null ? "–" : l), bar(n), bytes(n)]), "ladder");
          const f = facts([["Lag", s.lag_seconds == null ? null : span(s.lag_seconds)],
            ["WAL kept for the slot", s.retained_wal_bytes == null ? null : bytes(s.retained_wal_bytes)],
            ["WAL left before the slot is lost", s.safe_wal_bytes == null ? "no limit" : bytes(s.safe_wal_bytes)],
            ["Can be replayed from", s.replay_lsn == null ? null : s.replay_time ? s.replay_lsn + ", commits after " + s.replay_time : s.replay_lsn],
            ["Epoch", s.epoch == null ? null : num(s.epoch)]]);
          f.classList.add("after");
          return section("Write-ahead log" + (s.slot ? ", slot " + s.slot : ""), t, f);
        }
        function render(d) {
          document.title = d.name + " – sluice";
          document.getElementById("name").textContent = d.name;
          const p = document.getElementById("state"); p.textContent = d.state;
          const how = d.state === "sink only" ? d.sink && d.sink.state : d.state;
          p.className = "pill " + (["streaming", "standby", "running"].includes(how) ? "good" : how === "failed" ? "bad" : "warn");
          document.getElementById("about").textContent = "sluice " + d.version + ", up " + span(d.uptime_seconds);
          const n = document.getElementById("detail"); n.hidden = !d.detail; n.textContent = d.detail || "";
          const parts = [];
          if (d.source) parts.push(ladder(d.source));
          if (d.kafka) { const k = d.kafka, now = Date.now();
            if (last.rows != null && now > last.time) last.rate = Math.max(0, (k.rows - last.rows) / (now - last.time) * 1000);
            last.rows = k.rows; last.time = now;
            parts.push(section("Kafka", facts([["Rows", num(k.rows)], ["Rows a second", last.rate == null ? "–" : short(last.rate)],
              ["Transactions", num(k.transactions)], ["Last commit", k.last_commit_ms == null ? "–" : short(k.last_commit_ms) + " ms"],
              ["Buffered", bytes(k.buffered_bytes)]].concat(k.dead_letters ? [["Dead letters", num(k.dead_letters), "bad"]] : [])))); }
          if (d.tables && d.tables.length) parts.push(section("Tables",
            table([["Table", ""], ["Topic", ""], ["Inserts", "n"], ["Updates", "n"], ["Deletes", "n"], ["Truncates", "n"]],
              d.tables.map(t => [t.table, t.topic, num(t.inserts), num(t.updates), num(t.deletes), num(t.truncates)]))));
          if (d.sink) { const s = d.sink, kids = [facts([["Sink", s.state, s.state === "failed" ? "bad" : ""], ["Objects", num(s.objects)],
              ["Bytes stored", bytes(s.bytes)], ["Duplicates dropped", num(s.dropped)]])];
            if (s.detail) kids.unshift(el("p", "notice", s.detail));
            if (s.partitions && s.partitions.length) { const t = table([["Topic", ""], ["Hour", ""], ["Partition", "n"], ["Written up to", "n"],
                ["Records behind", "n"], ["Open object", "n"]],
                s.partitions.map(x => [x.topic, x.hour || "–", num(x.partition), num(x.last_offset), num(x.lag_records), bytes(x.open_bytes)]));
              kids.push(el("div", "after", t)); }
            parts.push(section("Object store", ...kids)); }
          if (d.gaps && d.gaps.length) parts.push(section("Gaps", table([["Kind", ""], ["From", ""], ["To", ""], ["Accepted", ""]],
            d.gaps.map(g => [g.kind, el("span", "lsn", g.from_lsn), el("span", "lsn", g.to_lsn), g.accepted_at || el("b", "bad", "no")]))));
          if (d.errors && d.errors.length) parts.push(section("Errors since the start", table([["Class", "wrap"], ["Count", "n"]],
            d.errors.map(e => [e.kind, num(e.count)]))));
          document.getElementById("main").replaceChildren(...parts);
          document.getElementById("updated").textContent = "Updated " + new Date(d.time || Date.now()).toLocaleTimeString();
          document.body.classList.remove("stale");
        }
        async function poll() {
          const stop = new AbortController(), timer = setTimeout(() => stop.abort(), 5000);
          try { render(await (await fetch("status", { signal: stop.signal, cache: "no-store" })).json()); }
          catch (e) { const p = document.getElementById("state"); p.textContent = "unreachable"; p.className = "pill bad";
            document.body.classList.add("stale"); }
          clearTimeout(timer); setTimeout(poll, 2000);
        }
        poll();
        """#
}
