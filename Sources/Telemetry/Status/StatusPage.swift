/// The page at `/`: one file without anything from outside, which asks for `/status` every two seconds.
enum StatusPage {
    static let html = """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>sluice</title>
        <link rel="icon" href="data:,">
        <style>\(style)</style>
        </head>
        <body>
        <header>
        <h1 id="name">sluice</h1><span id="state" class="pill" role="status">connecting</span>
        <span id="about" class="quiet"></span>
        </header>
        <p id="detail" class="notice" hidden></p>
        <main id="main"></main>
        <footer class="quiet"><span id="updated"></span>
        <nav><a href="metrics">metrics</a> <a href="status">status</a> <a href="healthz">healthz</a> <a href="readyz">readyz</a></nav></footer>
        <noscript><p class="notice">This page needs JavaScript; <a href="status">/status</a> has the same as JSON.</p></noscript>
        <script>\(script)</script>
        </body>
        </html>

        """

    /// Nothing from elsewhere, no frame around it, and requests to this server alone.
    static let contentSecurityPolicy =
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
        + "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
}
