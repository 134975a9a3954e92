/// One value of a YAML file and where it begins. A small tree without anchors, tags or types: a scalar is text.
struct YAMLNode: Equatable {
    enum Content: Equatable {
        /// `plain` is false for a quoted or block scalar, which is never null.
        case scalar(String, plain: Bool)
        case sequence([YAMLNode])
        case mapping([YAMLEntry])
    }

    let content: Content
    let location: SourceLocation

    /// What YAML calls null: nothing, `~` or `null`, unquoted.
    var isNull: Bool {
        guard case .scalar(let text, plain: true) = content else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(text)
    }

    /// What it is, for a message.
    var kind: String {
        switch content {
        case .scalar: "a single value"
        case .sequence: "a list"
        case .mapping: "a section of keys"
        }
    }
}

/// One `key: value` of a mapping.
struct YAMLEntry: Equatable {
    let key: String
    let keyLocation: SourceLocation
    let value: YAMLNode
}

/// Why a text is not the YAML that a configuration may be; it never holds a piece of a value.
struct YAMLFailure: Error, Equatable {
    let location: SourceLocation?
    let message: String

    init(_ message: String, at location: SourceLocation? = nil) {
        self.location = location
        self.message = message
    }
}
