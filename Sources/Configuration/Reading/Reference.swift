/// Writes `ops/reference/configuration.md` from the table of keys. A test keeps the two equal.
package enum Reference {
    package static func markdown() -> String {
        var text = head
        let sections = Schema.keys.filter { $0.isSection && $0.parent.isEmpty }.map(\.path)
        text += "\n## Top level\n\n" + table(Schema.keys.filter { !$0.isSection && $0.parent.isEmpty })
        for section in sections {
            text += "\n## `\(section)`\n\n"
            if let key = Schema.byPath[section] { text += key.summary + "\n\n" }
            text += table(Schema.keys.filter { $0.path.hasPrefix(section + ".") && !$0.isSection })
            let inner = Schema.keys.filter { $0.isSection && $0.parent == section }
            if !inner.isEmpty { text += "\n" + inner.map { "`\($0.path)`: \($0.summary)\n" }.joined(separator: "\n") }
            if section == "kafka" { text += owned() }
        }
        return text
    }

    private static func table(_ keys: [Schema.Key]) -> String {
        "| key | values | default | what it does |\n|---|---|---|---|\n"
            + keys.map { key in
                let text = key.defaultText.map { "`\($0)`" } ?? key.defaultNote ?? ""
                return "| `\(key.path)` | \(key.values ?? "") | \(text) | \(key.summary) |\n"
            }.joined()
    }

    private static func owned() -> String {
        "\nProperties of `kafka.client` that belong to sluice, and are refused:\n\n"
            + Configuration.ownedGroups.map { group in
                "- \(group.names.map { "`\($0)`" }.joined(separator: ", ")): \(group.reason)\n"
            }.joined()
    }

    private static let head = """
        # Configuration

        sluice reads one YAML file: the one that `-c` names, else `./sluice.yaml`, else `/etc/sluice/sluice.yaml`. The commented example is
        `replication/sluice.yaml`. This page is generated from the table of keys that reads the file.

        The shortest file that runs:

        ```yaml
        name: tesouro
        postgres:
          url: postgresql://sluice@127.0.0.1:5432/gold
          tables: [public.dadostesouroipca_gold, public.dadostesouropre_gold]
        kafka:
          brokers: 127.0.0.1:9092
        s3:
          url: s3://lake/tesouro
        ```

        - Everything wrong with a file is reported at once, each problem with file, line, column, key and what is allowed; the exit code is 78.
          Unknown keys, keys given twice and keys without a value are refused; a section without a key stands for its defaults.
        - `${NAME}` in a value stands for an environment variable, which must be set; `$${` stands for `${`. A variable's value is never printed.
        - A key that ends in `_file` names a file that holds the secret; one line end at its end is dropped. Give the secret or the file, not both.
          Relative paths start at the working directory.
        - Sizes are bytes (`1048576`) or a number with `B`, `KiB`, `MiB`, `GiB`, `TiB` (1024) or `KB`, `MB`, `GB`, `TB` (1000).
        - Durations are numbers with `us`, `ms`, `s`, `m`, `h` or `d`: `5ms`, `10m`, `1h30m`.
        - The file is UTF-8, one document, at most 256 KiB. Anchors, aliases, merge keys and tags are refused.
        - The keys of the store come all from the file, else all from the profile it names, else all from `AWS_ACCESS_KEY_ID` and its like, else
          from the profile `AWS_PROFILE` or `default`.
          While the sink runs, keys that the store refuses are looked up there again: temporary ones are renewed without a restart.
        - `run --only stream` needs no `s3`, and reads no secret of it; `run --only sink` needs no `postgres.url`, and reads no password.
          `check` and `verify` look at the store where there is `s3`; `status` reads nothing but where the agent listens.

        """
}
