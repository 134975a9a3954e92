import Glibc
import Testing

@testable import ObjectStorage

/// A directory that goes with its owner.
final class TemporaryDirectory {
    let path: String

    init() {
        var template = Array("/tmp/sluice-storage-XXXXXX".utf8CString)
        path = mkdtemp(&template).map { String(cString: $0) } ?? ""
    }

    deinit { if !path.isEmpty { _ = run(["rm", "-rf", path]) } }
}

/// Runs a program and waits for it: its exit code, -1 if it could not be started.
@discardableResult
func run(_ arguments: [String], output: String? = nil) -> Int32 {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    if let output { posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o644) }
    var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    defer { pointers.forEach { free($0) } }
    var pid: pid_t = 0
    guard posix_spawnp(&pid, arguments[0], &actions, nil, &pointers, environ) == 0 else { return -1 }
    var status: Int32 = 0
    guard waitpid(pid, &status, 0) == pid else { return -1 }
    return status & 0x7F == 0 ? (status >> 8) & 0xFF : -1
}

func read(_ path: String) -> [UInt8]? {
    guard let file = try? OpenFile(path, O_RDONLY, "test", key: nil),
        let size = try? file.status("test", key: nil).st_size
    else { return nil }
    var buffer = [UInt8](repeating: 0, count: Int(size) + 1)
    guard let count = try? file.read(into: &buffer, at: 0, "test", key: nil) else { return nil }
    return Array(buffer[..<count])
}

func write(_ bytes: [UInt8], to path: String) throws {
    try OpenFile(path, O_WRONLY | O_CREAT | O_TRUNC, "test", key: nil).write(bytes.span, at: 0, "test", key: nil)
}

/// Visible and hidden names of a directory.
func names(in directory: String) -> [String] {
    guard let listing = opendir(directory) else { return [] }
    defer { closedir(listing) }
    var names: [String] = []
    while let entry = readdir(listing) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
}

extension ObjectStore {
    /// A whole object in memory.
    func bytes(_ key: String) throws(StorageError) -> [UInt8] {
        var result: [UInt8] = []
        try get(key) { piece in
            piece.withUnsafeBufferPointer { result.append(contentsOf: $0) }
            return true
        }
        return result
    }

    /// All keys, page by page.
    func keys(_ prefix: String, startAfter: String? = nil, max: Int = 1000) throws(StorageError) -> [String] {
        var keys: [String] = []
        var next: ListContinuation?
        repeat {
            let page = try list(prefix: prefix, startAfter: startAfter, max: max, continuing: next)
            keys += page.objects.map(\.key)
            next = page.next
        } while next != nil
        return keys
    }
}

/// A text that compresses as our objects do, the same for the same seed.
func jsonRows(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var state = seed
    func random() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state >> 33
    }
    var result: [UInt8] = []
    for row in 0..<count {
        let value = random() % 1_000_000
        result += Array(
            """
            {"before":null,"after":{"id":\(row),"tipo_titulo":"Tesouro IPCA+","data_base":\(19_000 + random() % 900),\
            "taxa_compra":"\(value % 12).\(value % 97)","pu_venda":"\(value % 5000).\(random() % 100)"},"source":{"version":"1.0",\
            "connector":"postgresql","name":"tesouro","ts_ms":17\(value)000,"schema":"public","table":"dadostesouroipca_gold",\
            "txId":\(700 + row / 50),"lsn":\(23_000_000 + row * 191)},"op":"c","ts_ms":17\(value)123}\n
            """.utf8)
    }
    return result
}
