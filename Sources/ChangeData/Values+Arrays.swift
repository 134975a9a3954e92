extension ByteBuffer {
    /// An array, `{1,NULL,"a \"b\""}`, of any dimension, as nested JSON arrays; bounds (`[0:2]={...}`) are dropped.
    mutating func append(array text: Span<UInt8>, by rule: ValueRule, _ scratch: inout Scratch) throws(ValueFailure) {
        var cursor = try skipBounds(text)
        var depth = 0
        /// True where an element or a closing brace may follow, false where a delimiter or a closing brace must.
        var expectsElement = true
        repeat {
            guard cursor < text.count else { throw .invalidText }
            let byte = text[cursor]
            if byte == UInt8(ascii: "{"), expectsElement {
                append(UInt8(ascii: "["))
                depth += 1
                cursor += 1
            } else if byte == UInt8(ascii: "}"), depth > 0 {
                append(UInt8(ascii: "]"))
                depth -= 1
                cursor += 1
                expectsElement = false
            } else if byte == rule.delimiter, !expectsElement {
                append(UInt8(ascii: ","))
                cursor += 1
                expectsElement = true
                guard cursor < text.count, text[cursor] != UInt8(ascii: "}") else { throw .invalidText }
            } else if expectsElement, depth > 0 {
                try append(element: text, &cursor, by: rule, &scratch)
                expectsElement = false
            } else {
                throw .invalidText
            }
        } while depth > 0
        guard cursor == text.count else { throw .invalidText }
    }

    /// The offset of the opening brace, behind bounds such as `[1:2][0:1]=`.
    private func skipBounds(_ text: Span<UInt8>) throws(ValueFailure) -> Int {
        guard !text.isEmpty, text[0] == UInt8(ascii: "[") else { return 0 }
        var cursor = 0
        while cursor < text.count, text[cursor] != UInt8(ascii: "=") { cursor += 1 }
        guard cursor < text.count else { throw .invalidText }
        return cursor + 1
    }

    private mutating func append(
        element text: Span<UInt8>, _ cursor: inout Int, by rule: ValueRule, _ scratch: inout Scratch
    ) throws(ValueFailure) {
        if text[cursor] == UInt8(ascii: "\"") {
            scratch.element.removeAll()
            try scratch.element.append(unquoted: text, &cursor)
            try append(scalarIn: scratch.element, by: rule, &scratch.scalar)
            return
        }
        let start = cursor
        while cursor < text.count, text[cursor] != rule.delimiter, text[cursor] != UInt8(ascii: "}") {
            guard text[cursor] != UInt8(ascii: "\\"), text[cursor] != UInt8(ascii: "\"") else { throw .invalidText }
            cursor += 1
        }
        let element = text.extracting(start..<cursor)
        guard !element.isEmpty else { throw .invalidText }
        if equal(element, "NULL") {
            append("null")
        } else {
            try append(scalar: element, by: rule, &scratch.scalar)
        }
    }

    // The buffer is a parameter of its own so that it may be read while its siblings are written.
    private mutating func append(
        scalarIn element: borrowing ByteBuffer, by rule: ValueRule, _ scratch: inout ScalarScratch
    ) throws(ValueFailure) {
        try append(scalar: element.span, by: rule, &scratch)
    }

    private mutating func append(innerStringOf text: borrowing ByteBuffer) throws(ValueFailure) {
        try append(jsonString: text.span, escapesPairs: false)
    }

    /// Appends what stands between the quotes at the cursor, backslashes undone, and moves the cursor behind them.
    mutating func append(unquoted text: Span<UInt8>, _ cursor: inout Int) throws(ValueFailure) {
        guard cursor < text.count, text[cursor] == UInt8(ascii: "\"") else { throw .invalidText }
        cursor += 1
        while cursor < text.count {
            var byte = text[cursor]
            cursor += 1
            if byte == UInt8(ascii: "\"") { return }
            if byte == UInt8(ascii: "\\") {
                guard cursor < text.count else { throw .invalidText }
                byte = text[cursor]
                cursor += 1
            }
            append(byte)
        }
        throw .invalidText
    }

    /// hstore, `"a"=>"1", "b"=>NULL`, as a JSON string that holds a JSON object of its pairs, in PostgreSQL's order.
    mutating func append(hstore text: Span<UInt8>, _ scratch: inout ScalarScratch) throws(ValueFailure) {
        scratch.object.removeAll()
        scratch.object.append(UInt8(ascii: "{"))
        var cursor = 0
        while cursor < text.count {
            if cursor > 0 {
                guard hasPrefix(", ", text, cursor) else { throw .invalidText }
                cursor += 2
                scratch.object.append(UInt8(ascii: ","))
            }
            scratch.text.removeAll()
            try scratch.text.append(unquoted: text, &cursor)
            try scratch.object.append(innerStringOf: scratch.text)
            guard hasPrefix("=>", text, cursor) else { throw .invalidText }
            cursor += 2
            scratch.object.append(UInt8(ascii: ":"))
            if hasPrefix("NULL", text, cursor) {
                cursor += 4
                scratch.object.append("null")
            } else {
                scratch.text.removeAll()
                try scratch.text.append(unquoted: text, &cursor)
                try scratch.object.append(innerStringOf: scratch.text)
            }
        }
        scratch.object.append(UInt8(ascii: "}"))
        try append(jsonString: scratch.object.span)
    }

    private func hasPrefix(_ prefix: StaticString, _ text: Span<UInt8>, _ cursor: Int) -> Bool {
        let length = prefix.utf8CodeUnitCount
        return text.count - cursor >= length && equal(text.extracting(cursor..<cursor + length), prefix)
    }
}
