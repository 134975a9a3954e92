/// Reads the command line.
public enum CommandParser {
    /// The command that `arguments` (without the program's name) ask for.
    public static func parse(_ arguments: [String]) throws(UsageError) -> Command {
        var rest = arguments[...]
        guard let first = rest.popFirst() else {
            throw UsageError(message: "no command; one of \(names.joined(separator: ", "))", hint: "sluice --help")
        }
        switch first {
        case "-h", "--help": return .help(CommandHelp.overview())
        case "help":
            guard let name = rest.first else { return .help(CommandHelp.overview()) }
            return .help(CommandHelp.text(of: try find(name)))
        case "--version", "version": return .version
        default: break
        }
        let specification = try find(first)
        let options = try read(rest, for: specification)
        if options.has("help") { return .help(CommandHelp.text(of: specification)) }
        return try specification.build(options)
    }

    private static var names: [String] { CommandGrammar.commands.map(\.name) }

    private static func find(_ name: String) throws(UsageError) -> CommandSpecification {
        if let found = CommandGrammar.commands.first(where: { $0.name == name }) { return found }
        if name.hasPrefix("-") {
            throw UsageError(message: "unknown option \(name); options follow the command", hint: "sluice --help")
        }
        let near = Spelling.nearest(to: name, among: names).map { " (did you mean \($0)?)" } ?? ""
        throw UsageError(
            message: "unknown command \(name); one of \(names.joined(separator: ", "))\(near)", hint: "sluice --help")
    }

    private static func read(
        _ arguments: ArraySlice<String>, for specification: CommandSpecification
    ) throws(UsageError) -> ParsedOptions {
        var rest = arguments
        var parsed = ParsedOptions(command: specification.name)
        let allowed = specification.options + [CommandGrammar.help]
        while let argument = rest.popFirst() {
            let (option, attached) = try split(argument, allowed, parsed)
            var value = ""
            if option.value != nil {
                guard let text = attached ?? rest.popFirst() else {
                    throw parsed.error("--\(option.name) needs a value (\(option.value ?? ""))")
                }
                if attached == nil, text.hasPrefix("--") {
                    throw parsed.error(
                        "--\(option.name) needs a value, and \(text) is an option; write --\(option.name)=\(text) if it is meant"
                    )
                }
                guard !text.isEmpty else { throw parsed.error("--\(option.name) needs a value that is not empty") }
                value = text
            } else if attached != nil {
                throw parsed.error("--\(option.name) takes no value")
            }
            // Help asked for anywhere is answered, whatever else is wrong behind it.
            if option.name == "help" { return ParsedOptions(command: specification.name, values: ["help": [""]]) }
            if parsed.has(option.name), !option.repeats { throw parsed.error("--\(option.name) given twice") }
            parsed.values[option.name, default: []].append(value)
        }
        return parsed
    }

    /// The option that an argument names, and what is attached to it: `--config=x`, `-cx`.
    private static func split(
        _ argument: String, _ allowed: [OptionSpecification], _ parsed: ParsedOptions
    ) throws(UsageError) -> (OptionSpecification, String?) {
        if argument.hasPrefix("--"), argument != "--" {
            let body = argument.dropFirst(2)
            let name = body.prefix { $0 != "=" }
            let attached = name.count < body.count ? String(body.dropFirst(name.count + 1)) : nil
            if let option = allowed.first(where: { $0.name == name }) { return (option, attached) }
            let near =
                Spelling.nearest(to: String(name), among: allowed.map(\.name)).map { " (did you mean --\($0)?)" } ?? ""
            throw parsed.error("unknown option --\(name)\(near)")
        }
        if argument.hasPrefix("-"), let letter = argument.dropFirst().first, argument != "--" {
            guard let option = allowed.first(where: { $0.short == letter }) else {
                throw parsed.error("unknown option -\(letter)")
            }
            let attached = String(argument.dropFirst(2))
            return (option, attached.isEmpty ? nil : attached)
        }
        throw parsed.error("unexpected argument \(argument)")
    }
}

/// Help texts, at most 80 columns wide, made from the grammar.
enum CommandHelp {
    static let width = 80

    static func overview() -> String {
        var lines = [
            "sluice: change data capture from PostgreSQL to Kafka and S3, exactly once", "",
            "Usage: sluice COMMAND [OPTIONS]", "", "Commands:",
        ]
        let column = CommandGrammar.commands.map(\.name.count).max() ?? 0
        lines += CommandGrammar.commands.flatMap { entry($0.name, $0.summary, column: column) }
        lines += ["", "Options:"]
        let options = [
            CommandGrammar.help,
            OptionSpecification(name: "version", short: nil, value: nil, help: "print the version"),
        ]
        lines += table(options)
        lines += ["", "'sluice COMMAND --help' explains one command."]
        return lines.joined(separator: "\n") + "\n"
    }

    static func text(of command: CommandSpecification) -> String {
        var lines = wrap("Usage: " + command.usage, indent: 0, hanging: 7)
        lines += [""] + wrap(command.details, indent: 0, hanging: 0)
        lines += ["", "Options:"] + table(command.options + [CommandGrammar.help])
        return lines.joined(separator: "\n") + "\n"
    }

    private static func table(_ options: [OptionSpecification]) -> [String] {
        let heads = options.map { option in
            (option.short.map { "-\($0), " } ?? "    ") + "--\(option.name)" + (option.value.map { " \($0)" } ?? "")
        }
        let column = heads.map(\.count).max() ?? 0
        return zip(heads, options).flatMap { entry($0, $1.help, column: column) }
    }

    private static func entry(_ head: String, _ help: String, column: Int) -> [String] {
        let padded = "  " + head + String(repeating: " ", count: max(0, column - head.count) + 2)
        var lines = wrap(help, indent: padded.count, hanging: padded.count)
        if let first = lines.first { lines[0] = padded + first.dropFirst(padded.count) }
        return lines
    }

    private static func wrap(_ text: String, indent: Int, hanging: Int) -> [String] {
        var lines: [String] = []
        var line = String(repeating: " ", count: indent)
        var isFresh = true
        for word in text.split(separator: " ") {
            if !isFresh, line.count + 1 + word.count > width {
                lines.append(line)
                line = String(repeating: " ", count: hanging)
                isFresh = true
            }
            line += (isFresh ? "" : " ") + word
            isFresh = false
        }
        return lines + [line]
    }
}
