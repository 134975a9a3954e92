import CPostgres

extension PostgresError {
    /// The one place where libpq's errors become ours. `result` is read, not freed: its owner does that.
    init(_ result: OpaquePointer?, on connection: OpaquePointer?, during activity: Activity) {
        if let result, let state = Self.field(result, .sqlState) {
            let message = Self.field(result, .message) ?? "unknown error"
            let detail = Self.field(result, .detail)
            let kind = Kind(sqlState: state, during: activity, message: message, detail: detail)
            // Of a row that cannot be sent it says the LSN, and nothing of the row.
            let isRow = kind == .untranslatable || kind == .rowTooLarge
            let context =
                if isRow {
                    Self.field(result, .context)
                } else if activity == .definition {
                    Self.text(result, .context).flatMap { LibpqText.functions(inContext: $0) }
                } else {
                    nil as String?
                }
            self.init(
                kind, message, sqlState: state,
                detail: context.map { context in detail.map { "\($0); \(context)" } ?? context } ?? detail,
                hint: Self.field(result, .hint))
            return
        }
        let lost = connection.map { PQstatus($0) == CONNECTION_BAD } ?? true
        var text = LibpqText(connection.flatMap { PQerrorMessage($0) }.map { String(cString: $0) } ?? "")
        if activity == .connecting, let password = connection.flatMap({ PQpass($0) }) {
            text.redact(String(cString: password))
        }
        let kind: Kind =
            if let state = text.sqlState {
                Kind(sqlState: state, during: activity, message: text.message, detail: nil)
            } else {
                lost ? .transient : .fatal
            }
        self.init(kind, text.message, sqlState: text.sqlState)
    }

    /// The protocol's field letters: the `PG_DIAG_...` macros are character literals, which Swift does not import.
    enum Field: UnicodeScalar {
        /// Not in the server's language.
        case severity = "V"
        case sqlState = "C"
        case message = "M"
        case detail = "D"
        case hint = "H"
        case context = "W"
    }

    static func field(_ result: OpaquePointer, _ field: Field) -> String? {
        text(result, field).map { LibpqText.oneLine($0) }
    }

    private static func text(_ result: OpaquePointer, _ field: Field) -> String? {
        PQresultErrorField(result, Int32(field.rawValue.value)).map { String(cString: $0) }
    }
}

/// Takes apart the text that libpq leaves on a connection. libpq 15 gives no SQLSTATE for a failed connection attempt; with
/// `PQERRORS_VERBOSE` the server's line carries it: `... failed: FATAL:  28P01: password authentication failed`.
package struct LibpqText: Equatable {
    /// The text in one line, without SQLSTATE and source location.
    package private(set) var message: String
    /// The last SQLSTATE in the text (libpq reports one line for each address that it tried).
    package private(set) var sqlState: String?

    /// Takes the text of `PQerrorMessage`.
    package init(_ text: String) {
        var lines: [String] = []
        for line in text.split(separator: "\n") where !line.hasPrefix("LOCATION:  ") {
            guard let (state, before, after) = Self.splitAtState(line) else {
                lines.append(Self.oneLine(String(line)))
                continue
            }
            sqlState = state
            lines.append(Self.oneLine("\(before) \(after)"))
        }
        message = lines.isEmpty ? "the connection failed without a message" : lines.joined(separator: "; ")
    }

    /// Removes every occurrence of a secret.
    package mutating func redact(_ secret: String) {
        guard !secret.isEmpty else { return }
        var rest = Substring(message)
        var clean = ""
        while let range = rest.firstRange(of: secret) {
            clean += rest[..<range.lowerBound] + "***"
            rest = rest[range.upperBound...]
        }
        message = clean + rest
    }

    /// Splits `SEVERITY:  CODE5: text`, whatever language the severity is in.
    private static func splitAtState(_ line: Substring) -> (state: String, before: String, after: String)? {
        var rest = line
        while let mark = rest.firstRange(of: ":  ") {
            let tail = rest[mark.upperBound...]
            let code = tail.prefix(5)
            if code.utf8.count == 5, code.utf8.allSatisfy(isStateByte), tail.dropFirst(5).hasPrefix(": ") {
                return (String(code), String(line[..<mark.lowerBound]) + ":", String(tail.dropFirst(7)))
            }
            rest = tail
        }
        return nil
    }

    private static func isStateByte(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
    }

    /// The functions that an error came out of, such as `PL/pgSQL function f() line 3 at SQL statement`; nil where none is said. Other
    /// lines of a context are left out: they quote statements, which may hold values.
    package static func functions(inContext context: String) -> String? {
        let lines = context.split(separator: "\n").filter { line in
            let isFunction = line.hasPrefix("PL/pgSQL function ") || line.hasPrefix("SQL function \"")
            return isFunction && !line.contains("'")
        }
        return lines.isEmpty ? nil : lines.joined(separator: "; ")
    }

    /// Line ends and tabs become spaces, the ends are trimmed.
    static func oneLine(_ text: String) -> String {
        text.split(whereSeparator: { $0.isNewline || $0 == "\t" }).joined(separator: " ")
    }
}
