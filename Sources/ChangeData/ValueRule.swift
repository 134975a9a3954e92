/// How a column's text becomes JSON: the type's rule, chosen once for a table. `ops/reference/values.md` lists them.
struct ValueRule: Equatable {
    enum Kind: UInt8 {
        case text
        case boolean
        case integer
        case float
        /// A float in a key: spelt as Java does.
        case keyFloat
        case numeric
        case numericNumber
        case money
        case bytea
        case date
        case time
        case timetz
        case timestamp
        case timestamptz
        case dateEpoch
        case timeEpoch
        case timetzEpoch
        case timestampEpoch
        case interval
        case jsonInline
        case bit
        case bitBoolean
        case point
        case hstore
    }

    var kind: Kind
    /// Digits of a second's fraction in timestamptz.
    var precision: UInt8 = 6
    /// The delimiter of an array's text; 0: not an array.
    var delimiter: UInt8 = 0

    var isArray: Bool { delimiter != 0 }

    init(_ kind: Kind) {
        self.kind = kind
    }

    /// The rule of a type. Types that are neither built in nor described are text, which loses nothing.
    init(type: UInt32, modifier: Int32, types: [UInt32: PostgresType], format: EventFormat, isKey: Bool) {
        self = ValueRule.rule(type, modifier, types, format, depth: 0)
        if isKey, kind == .float { kind = .keyFloat }
    }

    private static func rule(
        _ type: UInt32, _ modifier: Int32, _ types: [UInt32: PostgresType], _ format: EventFormat, depth: Int
    ) -> ValueRule {
        if let element = BuiltinType.elements[type] {
            return array(of: scalar(element.type, modifier, format), delimiter: element.delimiter)
        }
        guard depth < 32, let described = types[type] else { return scalar(type, modifier, format) }
        switch described.kind {
        case .domain(let base, let ownModifier):
            return rule(base, ownModifier, types, format, depth: depth + 1)
        case .array(let element, let delimiter):
            // An element that is itself a domain or a row type is PostgreSQL's text: Debezium writes no such arrays.
            guard let elementType = types[element] else {
                return array(of: scalar(element, modifier, format), delimiter: delimiter)
            }
            let rule =
                elementType.kind == .base ? base(element, elementType.name, modifier, format) : ValueRule(.text)
            return array(of: rule, delimiter: delimiter)
        case .base:
            return base(type, described.name, modifier, format)
        case .enum, .composite, .range, .multirange:
            return ValueRule(.text)
        }
    }

    /// A base type that the catalog was asked about: what a domain is over may be built in.
    private static func base(_ type: UInt32, _ name: String, _ modifier: Int32, _ format: EventFormat) -> ValueRule {
        if type < PostgresType.firstDescribed { return scalar(type, modifier, format) }
        return ValueRule(name == "hstore" ? .hstore : .text)
    }

    /// The rule of an array. What Debezium cannot write as an element is PostgreSQL's text.
    private static func array(of element: ValueRule, delimiter: UInt8) -> ValueRule {
        var rule = element
        switch element.kind {
        case .interval, .money, .point, .bit, .bitBoolean: rule.kind = .text
        default: break
        }
        rule.delimiter = delimiter == 0 ? UInt8(ascii: ",") : delimiter
        return rule
    }

    private static func scalar(_ type: UInt32, _ modifier: Int32, _ format: EventFormat) -> ValueRule {
        let isISO = format.timestamps == .iso
        switch type {
        case BuiltinType.bool: return ValueRule(.boolean)
        case BuiltinType.int2, BuiltinType.int4, BuiltinType.int8, BuiltinType.oid: return ValueRule(.integer)
        case BuiltinType.float4, BuiltinType.float8: return ValueRule(.float)
        case BuiltinType.numeric: return ValueRule(format.numeric == .string ? .numeric : .numericNumber)
        case BuiltinType.money: return ValueRule(.money)
        case BuiltinType.bytea: return ValueRule(.bytea)
        case BuiltinType.date: return ValueRule(isISO ? .date : .dateEpoch)
        case BuiltinType.time: return ValueRule(isISO ? .time : .timeEpoch)
        case BuiltinType.timetz: return ValueRule(isISO ? .timetz : .timetzEpoch)
        case BuiltinType.timestamp: return ValueRule(isISO ? .timestamp : .timestampEpoch)
        case BuiltinType.timestamptz:
            var rule = ValueRule(isISO ? .timestamptz : .timestampEpoch)
            if (0...6).contains(modifier) { rule.precision = UInt8(modifier) }
            return rule
        case BuiltinType.interval: return ValueRule(.interval)
        case BuiltinType.json, BuiltinType.jsonb: return ValueRule(format.json == .text ? .text : .jsonInline)
        // Without a length, bits in Debezium's form could not be turned back.
        case BuiltinType.bit: return ValueRule(modifier == 1 ? .bitBoolean : modifier > 1 ? .bit : .text)
        case BuiltinType.point: return ValueRule(.point)
        default: return ValueRule(.text)
        }
    }
}

/// The OIDs of PostgreSQL's own types (`pg_type.dat`), which never change.
enum BuiltinType {
    static let bool: UInt32 = 16
    static let bytea: UInt32 = 17
    static let int8: UInt32 = 20
    static let int2: UInt32 = 21
    static let int4: UInt32 = 23
    static let oid: UInt32 = 26
    static let json: UInt32 = 114
    static let point: UInt32 = 600
    static let float4: UInt32 = 700
    static let float8: UInt32 = 701
    static let money: UInt32 = 790
    static let date: UInt32 = 1082
    static let time: UInt32 = 1083
    static let timestamp: UInt32 = 1114
    static let timestamptz: UInt32 = 1184
    static let interval: UInt32 = 1186
    static let timetz: UInt32 = 1266
    static let bit: UInt32 = 1560
    static let numeric: UInt32 = 1700
    static let jsonb: UInt32 = 3802

    /// Array types, with the type and the delimiter of their elements. Only box has another delimiter than the comma.
    static let elements: [UInt32: (type: UInt32, delimiter: UInt8)] = {
        var elements: [UInt32: (type: UInt32, delimiter: UInt8)] = [:]
        for (array, element) in pairs {
            elements[array] = (element, element == 603 ? UInt8(ascii: ";") : UInt8(ascii: ","))
        }
        return elements
    }()

    private static let pairs: [(UInt32, UInt32)] = [
        (143, 142), (199, 114), (210, 71), (270, 75), (271, 5069), (272, 81), (273, 83), (629, 628), (651, 650),
        (719, 718), (775, 774), (791, 790), (1000, 16), (1001, 17), (1002, 18), (1003, 19), (1005, 21), (1006, 22),
        (1007, 23), (1008, 24), (1009, 25), (1010, 27), (1011, 28), (1012, 29), (1013, 30), (1014, 1042), (1015, 1043),
        (1016, 20), (1017, 600), (1018, 601), (1019, 602), (1020, 603), (1021, 700), (1022, 701), (1027, 604),
        (1028, 26), (1034, 1033), (1040, 829), (1041, 869), (1115, 1114), (1182, 1082), (1183, 1083), (1185, 1184),
        (1187, 1186), (1231, 1700), (1263, 2275), (1270, 1266), (1561, 1560), (1563, 1562), (2201, 1790), (2207, 2202),
        (2208, 2203), (2209, 2204), (2210, 2205), (2211, 2206), (2949, 2970), (2951, 2950), (3221, 3220), (3643, 3614),
        (3644, 3642), (3645, 3615), (3735, 3734), (3770, 3769), (3807, 3802), (3905, 3904), (3907, 3906), (3909, 3908),
        (3911, 3910), (3913, 3912), (3927, 3926), (4073, 4072), (4090, 4089), (4097, 4096), (4192, 4191), (5039, 5038),
        (6150, 4451), (6151, 4532), (6152, 4533), (6153, 4534), (6155, 4535), (6157, 4536),
    ]
}
