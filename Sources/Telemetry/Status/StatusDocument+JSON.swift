extension StatusDocument {
    /// One line of JSON, without a line end.
    public func json() -> String {
        var text = JSONText()
        text.object { object in
            writeFields(&object)
            if let source { object.object("source") { source.writeFields(&$0) } }
            if let kafka { object.object("kafka") { kafka.writeFields(&$0) } }
            object.objects("tables", of: tables) { $1.writeFields(&$0) }
            if let sink {
                object.object("sink") { inner in
                    sink.writeFields(&inner)
                    inner.objects("partitions", of: sink.partitions) { $1.writeFields(&$0) }
                }
            }
            object.objects("gaps", of: gaps) { $1.writeFields(&$0) }
            object.objects("errors", of: errors) { $1.writeFields(&$0) }
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
