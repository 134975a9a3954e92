extension StatusDocument {
    /// One line of JSON, without a line end.
    public func json() -> String {
        var text = JSONText()
        text.object { object in
            writeFields(&object)
            if let source { object.section("source", source) }
            if let kafka { object.section("kafka", kafka) }
            object.list("tables", tables)
            if let sink {
                object.name("sink")
                object.object { inner in
                    sink.writeFields(&inner)
                    inner.list("partitions", sink.partitions)
                }
            }
            object.list("gaps", gaps)
            object.list("errors", errors)
        }
        return text.text
    }

    /// Reads what ``json()`` wrote, of this version or another: unknown members are passed over. nil where it is no such document.
    public init?(json bytes: [UInt8]) {
        guard let value = JSONValue(parsing: bytes), value["name"]?.string != nil, value["state"]?.string != nil else {
            return nil
        }
        self.init(reading: value)
        source = Source(reading: value["source"])
        kafka = Kafka(reading: value["kafka"])
        tables = Self.list(value["tables"])
        sink = Sink(reading: value["sink"])
        sink?.partitions = Self.list(value["sink"]?["partitions"])
        gaps = Self.list(value["gaps"])
        errors = Self.list(value["errors"])
    }

    private static func list<Section: StatusSection>(_ value: JSONValue?) -> [Section] {
        value?.array?.compactMap { Section(reading: $0) } ?? []
    }
}

extension JSONText {
    fileprivate mutating func section(_ key: String, _ section: some StatusSection) {
        name(key)
        object { section.writeFields(&$0) }
    }

    fileprivate mutating func list(_ key: String, _ items: [some StatusSection]) {
        name(key)
        array { array in
            for item in items { array.object { item.writeFields(&$0) } }
        }
    }
}
