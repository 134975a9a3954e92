import ChangeData

/// What the catalog said of the golden script's tables, from its `schema.sql`: keys by table, and the types that are
/// not built in by column, since their OIDs differ from server to server.
struct GoldenCatalog {
    private var seen: [TableName: Int] = [:]

    private static let primaryKeys: [String: [String]] = [
        "dadostesouroipca_gold": ["Data_Base", "Tipo"], "dadostesouropre_gold": ["Data_Base", "Tipo"],
        "ri_full_no_key": [], "ri_index": [], "ri_default_no_key": [], "toast_key": ["k"],
        "multi_key": ["m", "a", "z"],
        "key_types": ["k", "u", "ts", "b", "e"], "Odd Table": ["Id"], "events": ["id", "at"],
        "events_2024": ["id", "at"], "events_2025": ["id", "at"], "events_rest": ["id", "at"],
    ]

    private static let identityIndexes = ["ri_index": ["code"], "ri_index_and_key": ["code"]]

    private static let mood = PostgresType(schema: "public", name: "mood", kind: .enum)
    private static let price = PostgresType(
        schema: "public", name: "price", kind: .domain(base: 1700, modifier: (12 << 16 | 4) + 4))
    private static let positive = PostgresType(
        schema: "public", name: "positive", kind: .domain(base: 23, modifier: -1))
    private static let pair = PostgresType(schema: "public", name: "pair", kind: .composite)

    private static func base(_ name: String) -> PostgresType {
        PostgresType(schema: "public", name: name, kind: .base)
    }

    /// Types by `table.column`; `[]` means an array of it.
    private static let columnTypes: [String: (PostgresType, isArray: Bool)] = [
        "t_text.ci": (base("citext"), false), "t_json.h": (base("hstore"), false), "t_array.e": (mood, true),
        "t_array_rare.ct": (base("citext"), true), "t_array_rare.h": (base("hstore"), true),
        "t_array_rare.lt": (base("ltree"), true), "t_array_rare.dp": (price, true), "t_array_rare.pr": (pair, true),
        "t_user.e": (mood, false), "t_user.dp": (positive, false),
        "t_user.dps": (
            PostgresType(schema: "public", name: "positive_small", kind: .domain(base: 900_000, modifier: -1)), false
        ),
        "t_user.dpr": (price, false),
        "t_user.ds": (
            PostgresType(schema: "public", name: "short_text", kind: .domain(base: 1043, modifier: 14)), false
        ),
        "t_user.c": (pair, false), "t_user.lt": (base("ltree"), false), "all_types.e": (mood, false),
        "all_types.h": (base("hstore"), false), "all_types.ci": (base("citext"), false), "key_types.e": (mood, false),
        "ddl.m": (mood, false),
    ]

    mutating func describe(_ relation: Relation) -> TableDescription {
        let name = relation.table.name
        let count = seen[relation.table, default: 0]
        seen[relation.table] = count + 1
        // The catalog describes what domains are over as well, built in or not.
        var types: [UInt32: PostgresType] = [
            900_000: Self.positive, 23: Self.base("int4"), 1700: Self.base("numeric"), 1043: Self.base("varchar"),
        ]
        for column in relation.columns {
            guard let (type, isArray) = Self.columnTypes["\(name).\(column.name)"] else { continue }
            if isArray {
                let element = column.typeOID + 1_000_000
                types[element] = type
                types[column.typeOID] = PostgresType(
                    schema: "public", name: "_\(type.name)", kind: .array(element: element, delimiter: 0x2C))
            } else {
                types[column.typeOID] = type
            }
        }
        var primaryKey = Self.primaryKeys[name] ?? ["id"]
        // The script: ddl is FULL from its seventh announcement on, and gets the key (id, d) before its eighth.
        if name == "ddl", count >= 7 { primaryKey = ["id", "d"] }
        if name == "renamed_later", count >= 1 { primaryKey = [] }
        return TableDescription(
            primaryKey: primaryKey, identityIndex: Self.identityIndexes[name] ?? [], types: types)
    }
}
