extension StatusPage {
    static let style = """
        :root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#1b2430;--quiet:#5d6b7c;--line:#e2e6eb;--bar:#c79a2b;--track:#eceff3;
        --good:#1a7f4b;--warn:#9a6700;--bad:#b42318}
        @media (prefers-color-scheme:dark){:root{--bg:#10151c;--card:#18202a;--ink:#e6ebf1;--quiet:#93a1b2;--line:#28323f;--bar:#d9ac3e;
        --track:#232d39;--good:#4cc38a;--warn:#e2b340;--bad:#ff7b6b}}
        *{box-sizing:border-box}
        body{margin:0 auto;padding:24px;max-width:1120px;background:var(--bg);color:var(--ink);
        font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
        header{display:flex;flex-wrap:wrap;align-items:center;gap:12px;margin-bottom:20px}
        h1{font-size:22px;margin:0;letter-spacing:-.01em}
        h2{font-size:13px;font-weight:600;margin:0 0 12px;color:var(--quiet);letter-spacing:.02em}
        .quiet{color:var(--quiet)}
        .pill{border:1px solid currentColor;border-radius:999px;padding:1px 11px;font-size:13px;font-weight:600;color:var(--warn)}
        .good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
        .notice{border:1px solid var(--line);border-left:4px solid var(--warn);border-radius:6px;background:var(--card);padding:10px 14px;margin:0 0 16px}
        main{display:grid;gap:16px}
        section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:18px 20px;overflow-x:auto}
        .facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:14px 24px;margin:0}
        .facts dt{color:var(--quiet);font-size:13px}.facts dd{margin:0;font-size:20px;font-weight:600;font-variant-numeric:tabular-nums}
        table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
        th{font-weight:500;color:var(--quiet);font-size:13px;text-align:left;padding:0 12px 6px 0;border-bottom:1px solid var(--line);white-space:nowrap}
        td{padding:7px 12px 7px 0;border-bottom:1px solid var(--line);white-space:nowrap}
        tr:last-child td{border-bottom:0}
        td.wrap{white-space:normal;overflow-wrap:anywhere;min-width:220px}
        th.n,td.n{text-align:right}
        th:last-child,td:last-child{padding-right:0}
        .lsn{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:14px}
        .facts .lsn{font-size:17px}
        .track{background:var(--track);border-radius:4px;height:8px;min-width:160px;overflow:hidden}
        .track i{display:block;height:100%;background:var(--bar);border-radius:4px;min-width:2px}
        .ladder td:nth-child(3){width:45%}
        .after{margin:16px 0 0;padding-top:16px;border-top:1px solid var(--line)}
        footer{display:flex;flex-wrap:wrap;justify-content:space-between;gap:12px;margin-top:20px;font-size:13px}
        a{color:inherit}nav a{margin-left:12px}
        .stale main{opacity:.45}
        """
}
