/// `${NAME}` in a value stands for an environment variable, `$${` for the three characters `${`.
enum Interpolation {
    struct Failure: Error, Equatable {
        let message: String
    }

    static func expand(_ text: String, _ environment: [String: String]) throws(Failure) -> String {
        guard text.utf8.contains(UInt8(ascii: "$")) else { return text }
        var result = ""
        var rest = Substring(text)
        while let dollar = rest.firstIndex(of: "$") {
            result += rest[..<dollar]
            rest = rest[dollar...]
            if rest.hasPrefix("$${") {
                result += "${"
                rest = rest.dropFirst(3)
            } else if rest.hasPrefix("${") {
                guard let end = rest.firstIndex(of: "}") else {
                    throw Failure(message: "a ${ without its }; write ${NAME}, or $${ for the characters themselves")
                }
                let name = String(rest.dropFirst(2)[..<end])
                guard isName(name) else {
                    throw Failure(
                        message:
                            "not a variable's name between ${ and }; write ${NAME}, or $${ for the characters themselves"
                    )
                }
                guard let value = environment[name] else {
                    throw Failure(message: "the environment variable \(name) is not set")
                }
                result += value
                rest = rest[rest.index(after: end)...]
            } else {
                result += "$"
                rest = rest.dropFirst()
            }
        }
        return result + rest
    }

    private static func isName(_ name: String) -> Bool {
        guard let first = name.unicodeScalars.first, !("0"..."9").contains(first) else { return false }
        return name.unicodeScalars.allSatisfy { scalar in
            switch scalar {
            case "a"..."z", "A"..."Z", "0"..."9", "_": true
            default: false
            }
        }
    }
}
