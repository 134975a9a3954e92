import CYAML

/// What libyaml says next. Pure values: nothing in them belongs to libyaml.
enum YAMLEvent {
    case documentStart, documentEnd, streamEnd
    case scalar(String, plain: Bool)
    case sequenceStart, sequenceEnd, mappingStart, mappingEnd
    case other
}

/// Owns one libyaml parser and the bytes that it reads. The only code here that meets libyaml.
struct YAMLEventParser: ~Copyable {
    // On the heap, since libyaml keeps pointers into both.
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let input: UnsafeMutableBufferPointer<UInt8>

    init(_ bytes: [UInt8]) throws(YAMLFailure) {
        parser = .allocate(capacity: 1)
        parser.initialize(to: yaml_parser_t())
        input = .allocate(capacity: max(bytes.count, 1))
        _ = input.initialize(from: bytes)
        // All is initialized by now, so that `deinit` runs also when this throws: to delete a parser that libyaml has zeroed is allowed.
        guard yaml_parser_initialize(parser) == 1 else { throw YAMLFailure("out of memory") }
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(parser, input.baseAddress, bytes.count)
    }

    deinit {
        yaml_parser_delete(parser)
        parser.deallocate()
        input.deallocate()
    }

    /// The next event and where it begins. Anchors, aliases and tags are refused here, so that no event can stand for more than its own text.
    func next() throws(YAMLFailure) -> (event: YAMLEvent, location: SourceLocation) {
        var event = yaml_event_t()
        guard yaml_parser_parse(parser, &event) == 1 else { throw YAMLFailure(reading: parser.pointee) }
        defer { yaml_event_delete(&event) }
        let location = SourceLocation(event.start_mark)
        switch event.type {
        case YAML_DOCUMENT_START_EVENT: return (.documentStart, location)
        case YAML_DOCUMENT_END_EVENT: return (.documentEnd, location)
        case YAML_STREAM_END_EVENT: return (.streamEnd, location)
        case YAML_SEQUENCE_END_EVENT: return (.sequenceEnd, location)
        case YAML_MAPPING_END_EVENT: return (.mappingEnd, location)
        case YAML_ALIAS_EVENT:
            throw YAMLFailure(
                "an alias (*name) is not allowed: write the value out, or quote a value that begins with *",
                at: location)
        case YAML_SEQUENCE_START_EVENT:
            let data = event.data.sequence_start
            try Self.refuse(anchor: data.anchor, tag: data.tag, at: location)
            return (.sequenceStart, location)
        case YAML_MAPPING_START_EVENT:
            let data = event.data.mapping_start
            try Self.refuse(anchor: data.anchor, tag: data.tag, at: location)
            return (.mappingStart, location)
        case YAML_SCALAR_EVENT:
            let data = event.data.scalar
            try Self.refuse(anchor: data.anchor, tag: data.tag, at: location)
            let text = String(decoding: UnsafeBufferPointer(start: data.value, count: data.length), as: UTF8.self)
            guard !text.utf8.contains(0) else {
                throw YAMLFailure("a NUL character is not allowed in a value", at: location)
            }
            return (.scalar(text, plain: data.style == YAML_PLAIN_SCALAR_STYLE), location)
        default: return (.other, location)
        }
    }

    private static func refuse(
        anchor: UnsafeMutablePointer<yaml_char_t>?, tag: UnsafeMutablePointer<yaml_char_t>?, at location: SourceLocation
    ) throws(YAMLFailure) {
        if anchor != nil {
            throw YAMLFailure(
                "an anchor (&name) is not allowed: write the value out, or quote a value that begins with &",
                at: location)
        }
        if tag != nil {
            throw YAMLFailure("a tag (!name) is not allowed: quote a value that begins with !", at: location)
        }
    }
}

extension YAMLFailure {
    /// libyaml's texts are constants of its own: none holds a piece of the file.
    fileprivate init(reading parser: yaml_parser_t) {
        let problem = parser.problem.map { String(cString: $0) } ?? "not readable"
        let context = parser.context.map { " " + String(cString: $0) } ?? ""
        let tab = problem.contains("cannot start any token") ? " (a tab? YAML is indented with spaces)" : ""
        self.init("not valid YAML: \(problem)\(context)\(tab)", at: SourceLocation(parser.problem_mark))
    }
}

extension SourceLocation {
    fileprivate init(_ mark: yaml_mark_t) {
        self.init(line: Int(clamping: mark.line) + 1, column: Int(clamping: mark.column) + 1)
    }
}
