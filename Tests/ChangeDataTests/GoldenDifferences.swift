/// Where sluice writes other than Debezium on purpose, and why. All other cells must be equal.
enum GoldenReason {
    /// Debezium writes a column's default in place of null; null stays null here.
    case nullStaysNull
    /// The replica identity's index is the key. Debezium takes the primary key, which deletes do not have: `{"id":0}`.
    case identityIndexIsTheKey
    /// Infinity and years BC in arrays are written as outside of them.
    case datesInArrays
    /// NULL in an array of an enum or ltree and NaN in numeric[] make Debezium's whole array null.
    case elementsAreNotLost
    /// Debezium's bit[] is null; text of bits here.
    case bitArrays
    /// Arrays of two dimensions are nested arrays.
    case dimensions
    /// Microseconds and 24:00 in time[] are kept.
    case timesInArrays
    /// Debezium has no field for arrays of such elements: an array of PostgreSQL's texts.
    case droppedArray
    /// Debezium's base 64 of a varbit does not say its length: PostgreSQL's text of bits.
    case varbitKeepsItsLength
    /// Debezium has no field of the type, or null in it: PostgreSQL's text.
    case droppedType
    /// The pairs stand in PostgreSQL's order, not in that of Java's hashes.
    case hstoreOrder
    /// The 18 server was built without xml: the column is text there, and keeps the declaration.
    case noXML
    /// numeric with a negative scale has no zeros behind the point.
    case negativeScale
    /// Infinity is `infinity`, not a date far away.
    case infinity
    /// 24:00 is not midnight of the same day.
    case endOfDay
    /// An unchanged TOAST bytea is the placeholder, in base 64, and not null.
    case unchangedBytea
}

/// A column of a topic that differs: what sluice writes, by the offset of Debezium's record.
struct GoldenDifference {
    var topic: String
    var field: String
    var why: GoldenReason
    var ours: [Int: String]
    /// Debezium has no such field in any record: in all others than `ours` it is null here.
    var isNullElsewhere = false
    /// Only in the recording of this name.
    var file: String?

    init(
        _ topic: String, _ field: String, _ why: GoldenReason, _ ours: [Int: String], isNullElsewhere: Bool = false,
        file: String? = nil
    ) {
        self.topic = topic
        self.field = field
        self.why = why
        self.ours = ours
        self.isNullElsewhere = isNullElsewhere
        self.file = file
    }
}

/// The table.
let goldenDifferences: [GoldenDifference] = [
    GoldenDifference(
        "public.all_types", "after.i4", .nullStaysNull,
        [2: #"null"#]),
    GoldenDifference(
        "public.all_types", "before.b", .nullStaysNull,
        [3: #"null"#]),
    GoldenDifference(
        "public.all_types", "before.i4", .nullStaysNull,
        [3: #"null"#]),
    GoldenDifference(
        "public.all_types", "before.n12_3", .nullStaysNull,
        [3: #"null"#]),
    GoldenDifference(
        "public.all_types", "before.t", .nullStaysNull,
        [3: #"null"#]),
    GoldenDifference(
        "public.all_types", "before.tstz", .nullStaysNull,
        [3: #"null"#]),
    GoldenDifference(
        "public.ri_index_and_key", "before.id", .nullStaysNull,
        [4: #"null"#, 8: #"null"#]),
    GoldenDifference(
        "public.ri_index_and_key", "key", .identityIndexIsTheKey,
        [
            0: #"{"code":"A"}"#, 1: #"{"code":"B"}"#, 2: #"{"code":"C"}"#, 3: #"{"code":"A"}"#, 4: #"{"code":"A"}"#,
            5: #"{"code":"A"}"#, 6: #"{"code":"A2"}"#, 7: #"{"code":"A2"}"#, 8: #"{"code":"B"}"#, 9: #"{"code":"B"}"#,
        ]),
    GoldenDifference(
        "public.ri_index_and_key", "link", .identityIndexIsTheKey,
        [4: #"{"code":"A2"}"#, 5: #"{"code":"A2"}"#, 6: #"{"code":"A"}"#]),
    GoldenDifference(
        "public.t_array", "after.d", .datesInArrays,
        [12: #"["infinity","-0043-03-15Z"]"#]),
    GoldenDifference(
        "public.t_array", "after.e", .elementsAreNotLost,
        [7: #"["sad",null,"it's \"quoted\""]"#, 14: #"["sad",null]"#]),
    GoldenDifference(
        "public.t_array", "after.i4", .dimensions,
        [10: #"[[1,2],[3,4]]"#]),
    GoldenDifference(
        "public.t_array", "after.n", .elementsAreNotLost,
        [9: #"["NAN"]"#]),
    GoldenDifference(
        "public.t_array", "after.t", .dimensions,
        [10: #"[["a","b"],["c",null]]"#]),
    GoldenDifference(
        "public.t_array", "after.tm", .timesInArrays,
        [6: #"["12:34:56.123456Z",null,"00:00:00Z"]"#, 16: #"["24:00:00Z"]"#]),
    GoldenDifference(
        "public.t_array", "after.ts", .datesInArrays,
        [12: #"["infinity","-infinity"]"#, 16: #"["-0043-03-15T00:00:00Z","+12345-06-07T00:00:00.123456Z"]"#]),
    GoldenDifference(
        "public.t_array", "after.tstz", .datesInArrays,
        [12: #"["infinity","-infinity"]"#, 16: #"["-0043-03-15T00:00:00.000000Z","+12345-06-07T00:00:00.000000Z"]"#]),
    GoldenDifference(
        "public.t_array_rare", "after.bt", .bitArrays,
        [8: #"["101",null]"#]),
    GoldenDifference(
        "public.t_array_rare", "after.dp", .droppedArray,
        [12: #"["1.5000",null]"#], isNullElsewhere: true),
    GoldenDifference(
        "public.t_array_rare", "after.iv", .droppedArray,
        [2: #"["1 day",null]"#], isNullElsewhere: true),
    GoldenDifference(
        "public.t_array_rare", "after.lt", .elementsAreNotLost,
        [11: #"["a.b",null]"#]),
    GoldenDifference(
        "public.t_array_rare", "after.mo", .droppedArray,
        [9: #"["$1.50",null]"#], isNullElsewhere: true),
    GoldenDifference(
        "public.t_array_rare", "after.nm", .droppedArray,
        [13: #"["nm",null]"#], isNullElsewhere: true),
    GoldenDifference(
        "public.t_array_rare", "after.p", .droppedArray,
        [10: #"["(1,2)",null]"#], isNullElsewhere: true),
    GoldenDifference(
        "public.t_array_rare", "after.pr", .droppedArray,
        [14: #"["(1,x)",null]"#], isNullElsewhere: true),
    GoldenDifference(
        "public.t_array_rare", "after.vb", .droppedArray,
        [8: #"["1",null]"#], isNullElsewhere: true),
    GoldenDifference(
        "public.t_bits", "after.vb", .varbitKeepsItsLength,
        [0: #""1""#, 2: #""1010101010101010101""#, 3: #""00000001""#, 5: #""1""#]),
    GoldenDifference(
        "public.t_bits", "after.vb5", .varbitKeepsItsLength,
        [0: #""10101""#, 2: #""1""#, 3: #""00001""#, 5: #""10101""#]),
    GoldenDifference(
        "public.t_geo", "after.bx", .droppedType,
        [0: #""(3,4),(1,2)""#, 6: #""(3,4),(1,2)""#], isNullElsewhere: true),
    GoldenDifference(
        "public.t_geo", "after.ci", .droppedType,
        [0: #""<(0,0),5>""#, 6: #""<(0,0),5>""#], isNullElsewhere: true),
    GoldenDifference(
        "public.t_geo", "after.ls", .droppedType,
        [0: #""[(0,0),(1,1)]""#, 6: #""[(0,0),(1,1)]""#], isNullElsewhere: true),
    GoldenDifference(
        "public.t_geo", "before.bx", .droppedType,
        [:], isNullElsewhere: true),
    GoldenDifference(
        "public.t_geo", "before.ci", .droppedType,
        [:], isNullElsewhere: true),
    GoldenDifference(
        "public.t_geo", "before.ls", .droppedType,
        [:], isNullElsewhere: true),
    GoldenDifference(
        "public.t_json", "after.h", .hstoreOrder,
        [6: #""{\"a\":\"3\",\"b\":\"1\",\"aa\":\"2\"}""#]),
    GoldenDifference(
        "public.t_json", "after.x", .noXML,
        [2: #""<?xml version=\"1.0\"?><r/>""#], file: "pgoutput-18.ndjson"),
    GoldenDifference(
        "public.t_numeric", "after.n3_m2", .negativeScale,
        [
            0: #""100""#, 1: #""12300""#, 2: #""-99900""#, 3: #""0""#, 6: #""10000""#, 7: #""0""#, 8: #""100""#,
            14: #""100""#,
        ]),
    GoldenDifference(
        "public.t_range", "after.mr", .droppedType,
        [0: #""{[1,3),[5,8)}""#, 1: #""{}""#, 2: #""{(,5)}""#, 5: #""{[1,3),[5,8)}""#], isNullElsewhere: true),
    GoldenDifference(
        "public.t_range", "before.mr", .droppedType,
        [:], isNullElsewhere: true),
    GoldenDifference(
        "public.t_text", "after.n", .droppedType,
        [
            0: #""plain""#, 1: #""""#, 2: #""ção""#, 3: #""a\\b""#, 4: #""\uD83D\uDE00""#, 5: #""null""#, 6: #""  z ""#,
            7: #""n""#, 9: #""plain""#,
        ]),
    GoldenDifference(
        "public.t_time", "after.d", .infinity,
        [18: #""infinity""#, 19: #""-infinity""#]),
    GoldenDifference(
        "public.t_time", "after.t", .endOfDay,
        [33: #""24:00:00Z""#]),
    GoldenDifference(
        "public.t_time", "after.t0", .endOfDay,
        [33: #""24:00:00Z""#]),
    GoldenDifference(
        "public.t_time", "after.t3", .endOfDay,
        [33: #""24:00:00Z""#]),
    GoldenDifference(
        "public.t_time", "after.ts", .infinity,
        [20: #""infinity""#, 21: #""-infinity""#]),
    GoldenDifference(
        "public.t_time", "after.tz", .endOfDay,
        [34: #""24:00:00Z""#]),
    GoldenDifference(
        "public.t_user", "after.c", .droppedType,
        [0: #""(1,x)""#, 1: #""(,\"with \"\"q\"\", comma\")""#, 3: #""(,)""#, 4: #""(1,x)""#], isNullElsewhere: true),
    GoldenDifference(
        "public.t_user", "after.lsn", .droppedType,
        [0: #""16/B374D848""#, 1: #""0/0""#, 3: #""FFFFFFFF/FFFFFFFF""#, 4: #""16/B374D848""#], isNullElsewhere: true),
    GoldenDifference(
        "public.t_user", "after.tq", .droppedType,
        [0: #""'fat' & 'rat'""#, 1: #""""#, 3: #""'a' | !'b'""#, 4: #""'fat' & 'rat'""#], isNullElsewhere: true),
    GoldenDifference(
        "public.t_user", "before.c", .droppedType,
        [:], isNullElsewhere: true),
    GoldenDifference(
        "public.t_user", "before.lsn", .droppedType,
        [:], isNullElsewhere: true),
    GoldenDifference(
        "public.t_user", "before.tq", .droppedType,
        [:], isNullElsewhere: true),
    GoldenDifference(
        "public.toast_default", "after.ba", .unchangedBytea,
        [4: #""X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==""#, 7: #""X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==""#]),
]
