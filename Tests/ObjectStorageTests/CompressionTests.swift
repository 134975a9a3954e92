import Testing

@testable import ObjectStorage

@Suite struct CompressionTests {
    static func pack(_ compression: Compression, _ input: [UInt8], pieces: Int = .max) throws(StorageError) -> [UInt8] {
        var compressor = try Compressor(compression)
        return try pack(&compressor, input, pieces: pieces)
    }

    static func pack(_ compressor: inout Compressor, _ input: [UInt8], pieces: Int) throws(StorageError) -> [UInt8] {
        var output: [UInt8] = []
        var offset = 0
        let collect: ByteSink = { $0.withUnsafeBufferPointer { output.append(contentsOf: $0) } }
        while offset < input.count {
            let count = min(pieces, input.count - offset)
            try compressor.update(input.span.extracting(offset..<(offset + count)), into: collect)
            offset += count
        }
        try compressor.finish(into: collect)
        return output
    }

    static func unpack(_ compression: Compression, _ input: [UInt8], pieces: Int = .max) throws(StorageError) -> [UInt8]
    {
        var decompressor = try Decompressor(compression)
        var output: [UInt8] = []
        var offset = 0
        while offset < input.count {
            let count = min(pieces, input.count - offset)
            try decompressor.update(input.span.extracting(offset..<(offset + count))) {
                $0.withUnsafeBufferPointer { output.append(contentsOf: $0) }
            }
            offset += count
        }
        try decompressor.finish()
        return output
    }

    static let inputs: [[UInt8]] = {
        var generator = SystemRandomNumberGenerator()
        let noise = (0..<600_000).map { _ in UInt8.random(in: 0...255, using: &generator) }
        var inputs: [[UInt8]] = [[], [0x41], jsonRows(3000), noise, [UInt8](repeating: 0, count: 3 << 20)]
        // Around the engines' blocks.
        for length in [131_072, 262_144, 524_288] {
            for change in [-1, 0, 1] { inputs.append(Array(noise[..<(length + change)])) }
        }
        return inputs
    }()

    @Test(arguments: Compression.allCases) func roundTrip(_ compression: Compression) throws {
        var reused = try Compressor(compression)
        for input in CompressionTests.inputs {
            let whole = try CompressionTests.pack(compression, input)
            #expect(try CompressionTests.unpack(compression, whole) == input)
            #expect(try CompressionTests.unpack(compression, whole, pieces: 997) == input)
            // The same bytes whatever the pieces, and from a compressor that was used before.
            #expect(try CompressionTests.pack(&reused, input, pieces: 1021) == whole)
            #expect(try CompressionTests.pack(&reused, input, pieces: 300_000) == whole)
        }
    }

    @Test func byteByByte() throws {
        let input = jsonRows(40)
        for compression in Compression.allCases {
            let packed = try CompressionTests.pack(compression, input, pieces: 1)
            #expect(try CompressionTests.unpack(compression, packed, pieces: 1) == input)
        }
    }

    @Test func otherToolsReadIt() throws {
        let directory = TemporaryDirectory()
        for (compression, tool) in [(Compression.gzip, ["gzip", "-dc"]), (.lz4, ["lz4", "-dc", "-q"])] {
            for (number, input) in CompressionTests.inputs.enumerated() {
                let path = "\(directory.path)/\(number)\(compression.suffix)"
                try write(try CompressionTests.pack(compression, input), to: path)
                #expect(run(tool + [path], output: "\(path).out") == 0, "\(tool) \(number)")
                #expect(read("\(path).out") == input)
            }
        }
    }

    @Test func gzipHeaderIsConstant() throws {
        let packed = try CompressionTests.pack(.gzip, jsonRows(10))
        #expect(Array(packed[..<10]) == [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF])
    }

    @Test(arguments: [Compression.gzip, .lz4]) func damageIsSeen(_ compression: Compression) throws {
        let packed = try CompressionTests.pack(compression, jsonRows(2000))
        for end in [0, 1, 5, 9, 12, packed.count / 2, packed.count - 5, packed.count - 1] {
            #expect(throws: StorageError.self) { try CompressionTests.unpack(compression, Array(packed[..<end])) }
        }
        #expect(throws: StorageError.self) { try CompressionTests.unpack(compression, packed + [0]) }
        #expect(throws: StorageError.self) { try CompressionTests.unpack(compression, packed + packed) }
        for index in stride(from: 20, to: packed.count, by: packed.count / 50) {
            var damaged = packed
            damaged[index] ^= 0x10
            #expect(throws: StorageError.self) { try CompressionTests.unpack(compression, damaged) }
        }
    }

    @Test(arguments: [Compression.gzip, .lz4]) func aFailedSinkTearsTheStream(_ compression: Compression) throws {
        let input = jsonRows(6000)
        var compressor = try Compressor(compression)
        let full: ByteSink = { _ throws(StorageError) in throw StorageError(.transient, "spool", "full") }
        #expect(throws: StorageError.self) { try compressor.update(input.span, into: full) }
        #expect(throws: StorageError.self) { try compressor.finish { _ in } }
        compressor.reset()
        #expect(
            try CompressionTests.pack(&compressor, input, pieces: 5000) == CompressionTests.pack(compression, input))
    }

    @Test func hashing() throws {
        #expect(try SHA256Digest.of([]).hex == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        var hasher = try SHA256Hasher()
        for _ in 0..<2 {
            for byte in Array("abc".utf8) { hasher.update([byte].span) }
            #expect(try hasher.finish().hex == abc)
        }
        #expect(SHA256Digest(hex: abc)?.hex == abc)
        for broken in ["", "ba", String(abc.dropLast()) + "g", abc + "00", String(repeating: "é", count: 32)] {
            #expect(SHA256Digest(hex: broken) == nil)
        }
        // RFC 4231, test case 2.
        let mac = try hmacSHA256(key: Array("Jefe".utf8), Array("what do ya want for nothing?".utf8))
        #expect(hexadecimal(mac) == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    }
}
