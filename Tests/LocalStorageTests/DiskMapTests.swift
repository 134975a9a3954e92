import Foundation
import LocalStorage
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

@Suite struct DiskMapTests {
    private let directory = NSTemporaryDirectory()

    private func make(cache: Int = 1 << 20, limit: Int = 64 << 20) throws -> DiskMap {
        try DiskMap(in: directory, cacheBytes: cache, limit: limit)
    }

    @Test func aMapHoldsTheLastValueOfEachKey() throws {
        let map = try make()
        try map.set(bytes("a"), to: bytes("1"), in: 0)
        try map.set(bytes("b"), to: bytes("2"), in: 0)
        try map.set(bytes("a"), to: [], in: 0)
        try map.set([], to: bytes("empty key"), in: 0)
        #expect(try map.value(of: bytes("a"), in: 0) == [])
        #expect(try map.value(of: bytes("b"), in: 0) == bytes("2"))
        #expect(try map.value(of: [], in: 0) == bytes("empty key"))
        #expect(try map.value(of: bytes("c"), in: 0) == nil)
        try map.remove(bytes("b"), in: 0)
        try map.remove(bytes("never there"), in: 0)
        #expect(try map.value(of: bytes("b"), in: 0) == nil)
        var keys: [[UInt8]] = []
        try map.forEach(in: 0) { key, _ in keys.append(key) }
        #expect(keys == [[], bytes("a")])
    }

    @Test func mapsAreApart() throws {
        let map = try make()
        try map.set(bytes("a"), to: bytes("1"), in: 1)
        try map.set(bytes("a"), to: bytes("2"), in: 2)
        try map.removeAll(in: 1)
        #expect(try map.value(of: bytes("a"), in: 1) == nil)
        #expect(try map.value(of: bytes("a"), in: 2) == bytes("2"))
    }

    @Test func pairsGoByTheirKeysOrTheirValues() throws {
        let map = try make()
        for (key, value) in [("a", "9"), ("b", "5"), ("bb", "51"), ("c", "1")] {
            try map.set(bytes(key), to: bytes(value), in: 1)
        }
        try map.set(bytes("a"), to: bytes("1"), in: 2)
        func keys() throws -> [String] {
            var keys: [String] = []
            try map.forEach(in: 1) { key, _ in keys.append(String(decoding: key, as: UTF8.self)) }
            return keys
        }
        try map.removeAll(in: 1, where: .value, isBefore: bytes("51"))
        #expect(try keys() == ["a", "bb"])
        try map.removeAll(in: 1, where: .key, isBefore: bytes("bb"))
        #expect(try keys() == ["bb"])
        #expect(try map.value(of: bytes("a"), in: 2) == bytes("1"))
    }

    /// Forty times what the cache holds.
    @Test func aMapMayBeLargerThanItsCache() throws {
        let map = try make(cache: 1 << 20)
        func key(_ number: Int) -> [UInt8] { bytes("\(number &* 7919 % 100_003)") }
        for number in 0..<100_000 {
            try map.set(key(number), to: [UInt8](repeating: UInt8(number % 251), count: 400), in: 0)
        }
        for number in stride(from: 0, to: 100_000, by: 997) {
            #expect(try map.value(of: key(number), in: 0) == [UInt8](repeating: UInt8(number % 251), count: 400))
        }
    }

    @Test func aFullOneSaysSo() throws {
        let map = try make(cache: 64 << 10, limit: 1 << 20)
        let error = #expect(throws: DiskMapError.self) {
            for number in 0..<10_000 { try map.set(bytes("\(number)"), to: [UInt8](repeating: 1, count: 1000), in: 0) }
        }
        #expect(error?.kind == .full)
        #expect(error?.description.contains(directory) == true)
    }

    @Test func nothingIsLeftInTheDirectory() throws {
        let own = directory + "/sluice-map-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: own, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: own) }
        let map = try DiskMap(in: own, cacheBytes: 64 << 10, limit: 16 << 20)
        for number in 0..<1000 { try map.set(bytes("\(number)"), to: [UInt8](repeating: 1, count: 1000), in: 0) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: own) == [])
    }

    @Test func aDirectoryThatIsMissingIsNamed() {
        let error = #expect(throws: DiskMapError.self) {
            try DiskMap(in: "/nonexistent", cacheBytes: 1 << 20, limit: 1 << 20)
        }
        #expect(error?.kind == .unusable && error?.description.contains("/nonexistent") == true)
    }
}
