import ChangeData
import Testing

struct PositionTests {
    static func text(_ position: RecordPosition) -> String {
        var buffer = ByteBuffer()
        position.write(into: &buffer)
        return String(decoding: buffer.copy(), as: UTF8.self)
    }

    @Test func headerHasItsForm() {
        let position = RecordPosition(
            position: EventPosition(epoch: 1, commitLSN: LSN(0x98A_C920), ordinal: 3), commitTime: 1_795_633_610_160_929
        )
        #expect(Self.text(position) == "1/0/98AC920/3/1795633610160929")
        #expect(RecordPosition(parsing: Array("1/0/98AC920/3/1795633610160929".utf8).span) == position)
    }

    @Test func everyPositionComesBack() {
        var random = Seeded(#function)
        for _ in 0..<2000 {
            let shift = UInt64.random(in: 0..<64, using: &random)
            let position = RecordPosition(
                position: EventPosition(
                    epoch: .random(in: 0...UInt32.max, using: &random),
                    commitLSN: LSN(.random(in: 0...UInt64.max, using: &random) >> shift),
                    ordinal: .random(in: 0...UInt64.max, using: &random) >> shift),
                commitTime: .random(in: -62_135_596_800_000_000...253_402_300_799_999_999, using: &random)
                    >> Int64(shift / 2))
            #expect(RecordPosition(parsing: Array(Self.text(position).utf8).span) == position)
        }
    }

    @Test(arguments: [
        "", "1", "1/0/98AC920/3", "1/0/98AC920/3/", "/0/1/1/1", "1//1/1/1", "1/0/98ac920/3/1", "1/0/1/1/1 ",
        "1/0/1/1/+1",
        "4294967296/0/1/1/1", "1/100000000/1/1/1", "1/0/1/18446744073709551616/1", "1/0/1/1/9223372036854775808",
        // Times that nobody can calculate with: not of the years 1 to 9999.
        "1/0/1/1/253402300800000000", "1/0/1/1/-62135596800000001", "1/0/1/1/-9223372036854775807",
        "1/0/1/1/1/1", "-1/0/1/1/1", "1/0/1/1/--1", "1/0/1/1/-",
    ])
    func otherTextsAreNone(_ text: String) {
        #expect(RecordPosition(parsing: Array(text.utf8).span) == nil)
    }

    @Test func lsnHasPostgresText() {
        #expect(LSN("16/B374D848") == LSN(0x16_B374_D848))
        #expect(LSN(0x16_B374_D848).description == "16/B374D848")
        #expect(LSN("0/0") == LSN(0))
        #expect(LSN("ffffffff/ffffffff") == LSN(.max))
        for text in ["", "0", "/", "0/", "/0", "0/0/0", "+1/0", "-1/0", "123456789/0", "0/G", "0x1/0"] {
            #expect(LSN(text) == nil, "\(text)")
        }
        var buffer = ByteBuffer()
        buffer.append(lsn: LSN(0xA_0000_0B00))
        #expect(String(decoding: buffer.copy(), as: UTF8.self) == "A/B00")
    }

    @Test func positionsOrderByEpochThenCommitThenOrdinal() {
        let sorted = [
            EventPosition(epoch: 1, commitLSN: LSN(9), ordinal: 9),
            EventPosition(epoch: 2, commitLSN: LSN(1), ordinal: 5),
            EventPosition(epoch: 2, commitLSN: LSN(2), ordinal: 0),
            EventPosition(epoch: 2, commitLSN: LSN(2), ordinal: 1),
        ]
        #expect(sorted.shuffled().sorted() == sorted)
    }
}
