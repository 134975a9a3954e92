package import Postgres

extension Preflight {
    /// Whether the server would take the stream for a synchronous standby: it asks for the application name alone, and each commit
    /// of the applications then waits until Kafka has it.
    package static func synchrony(_ facts: ServerFacts, applicationName: String) -> [Finding] {
        // Commits wait for nobody on a standby.
        guard !facts.isInRecovery else { return [] }
        let names = standbys(in: facts.synchronousStandbyNames)
        guard names.contains(where: { $0 == "*" || $0.lowercased() == applicationName.lowercased() }) else { return [] }
        return [
            Finding(
                .warning, "synchronous_standby_names",
                "\(facts.synchronousStandbyNames) matches \(applicationName), the stream's application name: commits may wait until Kafka has them",
                fixes: [
                    "ALTER SYSTEM SET synchronous_standby_names = '...'; -- the standbys by their names; then SELECT pg_reload_conf();"
                ])
        ]
    }

    /// The names in `synchronous_standby_names`: `a, "b"`, `2 (a, b)`, `FIRST 1 (a, b)` or `ANY 1 (a, *)`.
    static func standbys(in setting: String) -> [String] {
        var names: [String] = []
        var name = ""
        var isQuoted = false
        for character in setting {
            switch character {
            // A quote within a name is two: it ends the quoted part and begins another.
            case "\"": isQuoted.toggle()
            case _ where isQuoted: name.append(character)
            // What stands before the list is a method and a number.
            case "(": (names, name) = ([], "")
            case ",", ")":
                names.append(name)
                name = ""
            case _ where character.isWhitespace: break
            default: name.append(character)
            }
        }
        return (names + [name]).filter { !$0.isEmpty }
    }
}
