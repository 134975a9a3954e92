/// Builds the tree of one document, within bounds: what a configuration never needs is refused before it costs anything.
enum YAMLTree {
    static let maximumBytes = 256 * 1024
    static let maximumDepth = 16
    static let maximumNodes = 10_000

    /// The root of the one document in `bytes`.
    static func parse(_ bytes: [UInt8]) throws(YAMLFailure) -> YAMLNode {
        guard bytes.count <= maximumBytes else {
            throw YAMLFailure("\(bytes.count) bytes long; a configuration has at most \(maximumBytes)")
        }
        try checkEncoding(bytes)
        // libyaml, told the encoding, counts a byte order mark as a column.
        let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
        let parser = try YAMLEventParser(bytes.starts(with: mark) ? Array(bytes.dropFirst(mark.count)) : bytes)
        var builder = Builder()
        while true {
            let (event, location) = try parser.next()
            if case .streamEnd = event { break }
            try builder.take(event, at: location)
        }
        guard let root = builder.root else { throw YAMLFailure("the file is empty") }
        return root
    }

    /// UTF-8 alone, with the line of the first byte that is not.
    private static func checkEncoding(_ bytes: [UInt8]) throws(YAMLFailure) {
        guard !bytes.starts(with: [0xFF, 0xFE]), !bytes.starts(with: [0xFE, 0xFF]) else {
            throw YAMLFailure("UTF-16: save the file as UTF-8")
        }
        do {
            _ = try UTF8Span(validating: bytes.span)
        } catch {
            let before = bytes[..<min(error.byteOffsets.lowerBound, bytes.count)]
            let line = before.count { $0 == UInt8(ascii: "\n") } + 1
            throw YAMLFailure("not UTF-8 on this line", at: SourceLocation(line: line, column: 1))
        }
    }

    /// A stack of open collections; events come in, one tree comes out. No recursion: depth costs no stack.
    private struct Builder {
        private enum Frame {
            case sequence([YAMLNode], SourceLocation)
            case mapping([YAMLEntry], key: (String, SourceLocation)?, SourceLocation)
        }

        private var stack: [Frame] = []
        private var nodes = 0
        private var documents = 0
        private(set) var root: YAMLNode?

        mutating func take(_ event: YAMLEvent, at location: SourceLocation) throws(YAMLFailure) {
            switch event {
            case .documentStart:
                documents += 1
                if documents > 1 { throw YAMLFailure("a second document (---) is not allowed", at: location) }
            case .scalar(let text, let plain):
                try place(YAMLNode(content: .scalar(text, plain: plain), location: location))
            case .sequenceStart: try open(.sequence([], location), at: location)
            case .mappingStart: try open(.mapping([], key: nil, location), at: location)
            case .sequenceEnd, .mappingEnd:
                switch stack.popLast() {
                case .sequence(let items, let start): try place(YAMLNode(content: .sequence(items), location: start))
                case .mapping(let entries, _, let start):
                    try place(YAMLNode(content: .mapping(entries), location: start))
                case nil: throw YAMLFailure("not valid YAML", at: location)
                }
            case .documentEnd, .streamEnd, .other: break
            }
        }

        private mutating func open(_ frame: Frame, at location: SourceLocation) throws(YAMLFailure) {
            if case .mapping(_, key: nil, _)? = stack.last {
                throw YAMLFailure("a key must be a single word", at: location)
            }
            stack.append(frame)
            if stack.count > YAMLTree.maximumDepth {
                throw YAMLFailure("nested more than \(YAMLTree.maximumDepth) deep", at: location)
            }
        }

        private mutating func place(_ node: YAMLNode) throws(YAMLFailure) {
            nodes += 1
            guard nodes <= YAMLTree.maximumNodes else {
                throw YAMLFailure("more than \(YAMLTree.maximumNodes) values", at: node.location)
            }
            switch stack.popLast() {
            case nil: root = node
            case .sequence(var items, let start):
                items.append(node)
                stack.append(.sequence(items, start))
            case .mapping(var entries, let key?, let start):
                entries.append(YAMLEntry(key: key.0, keyLocation: key.1, value: node))
                stack.append(.mapping(entries, key: nil, start))
            case .mapping(let entries, nil, let start):
                guard case .scalar(let text, let plain) = node.content else {
                    throw YAMLFailure("a key must be a single word", at: node.location)
                }
                if plain, text == "<<" {
                    throw YAMLFailure("a merge key (<<) is not allowed: write the keys out", at: node.location)
                }
                stack.append(.mapping(entries, key: (text, node.location), start))
            }
        }
    }
}
