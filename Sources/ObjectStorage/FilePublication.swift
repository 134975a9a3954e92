import Glibc

/// Publishes one object in a directory, with its metadata, against any number of racers, and whatever is killed when.
///
/// Two names cannot appear in one step, so the metadata is the decision, and the object's name only its execution:
///
/// 1. The body is written under a hidden name of its own, and synchronised; the metadata likewise, and it names that body.
/// 2. `link` of the metadata to `.<object>.meta` fails if there is one: exactly one writer gets it. That is the claim. The
///    directory is synchronised: body and metadata are durable before the object's name appears.
/// 3. The body named *in the metadata* is linked to the object's name, and the directory synchronised.
/// 4. The hidden names are unlinked; leftovers of others too, since nobody needs them once the object is there.
///
/// Whoever finds a claim without its object does step 3 for the claimant, and has lost. So nobody waits for a writer that may
/// be dead, and a body never meets another's metadata. A claim whose body is gone as well (step 4 comes only after 3, so this
/// is an object removed by hand, or a disk that kept one entry and not the other) is taken over: `rename` puts a
/// new claim in its place, one at a time under `flock` of the old one.
struct FilePublication {
    /// Where a test lets a writer die.
    enum Step: CaseIterable, Sendable { case bodyWritten, metadataWritten, claimed, claimDurable, linked, linkDurable }

    let directory: String
    let names: FileNames
    let key: String
    let abort: AbortFlag
    /// Tests only: called after each step.
    var reached: (Step) throws(StorageError) -> Void = { _ in }

    init(directory: String, name: String, key: String, abort: AbortFlag) {
        self.directory = directory
        names = FileNames(name[...])
        self.key = key
        self.abort = abort
    }

    func publish(_ put: PutRequest) throws(StorageError) -> PutResult {
        if put.condition == .ifAbsent, exists(names.object) { return try lost() }
        let body = names.newHidden()
        let metadataName = body + FileNames.metadataSuffix
        var owned = true
        defer { if owned { unlink(path(body)); unlink(path(metadataName)) } }

        let digest = try write(put.body, to: body)
        if let expected = put.sha256, expected != digest {
            throw StorageError(.fatal, "put", key: key, "the body's SHA-256 is not the stated one")
        }
        try reached(.bodyWritten)
        let metadata = FileMetadata(
            body: body, etag: digest.hex, contentType: put.contentType, contentEncoding: put.contentEncoding,
            metadata: put.metadata)
        _ = try write(.bytes(metadata.json), to: metadataName)
        try reached(.metadataWritten)
        if put.condition == .none { return try replace(body, metadataName, etag: digest.hex) }

        guard try claim(metadataName) else { return try lost() }
        // From here on the claim needs the body: whatever fails now, the next writer completes it.
        owned = false
        try uncertain { () throws(StorageError) in
            try reached(.claimed)
            try synchronizeDirectory()
            try reached(.claimDurable)
            try execute(body)
            try reached(.linked)
        }
        // The object is there, and may not stay: whoever is told "perhaps" would look, and find it. The next attempt finds it too, and makes
        // sure (`lost`).
        do { try synchronizeDirectory() } catch {
            throw StorageError(.transient, error.operation, key: key, code: error.code, error.message, hint: error.hint)
        }
        try uncertain { () throws(StorageError) in try reached(.linkDurable) }
        return finished(.created(etag: digest.hex))
    }

    /// Step 2. False if the object is there, another's.
    private func claim(_ metadataName: String) throws(StorageError) -> Bool {
        // Each turn ends, or another writer has got on meanwhile; the bound is for a file system that lies.
        for _ in 0..<100 {
            if link(path(metadataName), path(names.metadata)) == 0 { return true }
            switch errno {
            case EEXIST: break
            // Ours was swept away by the winner.
            case ENOENT where exists(names.object): return false
            default: throw StorageError(errno: errno, "put", key: key, "link of the metadata")
            }
            let found = try names.readMetadata(in: directory, "put", key: key)
            if exists(names.object) { return false }
            if let found, names.isHidden(found.body) {
                if link(path(found.body), path(names.object)) == 0 || errno == EEXIST { return false }
                guard errno == ENOENT else { throw StorageError(errno: errno, "put", key: key, "link of the object") }
                // Executed by another, and the body's hidden name already gone.
                if exists(names.object) { return false }
            }
            if try takeOver(metadataName) { return true }
        }
        throw StorageError(.transient, "put", key: key, "the claim on the name does not settle")
    }

    /// Replaces a claim without object and body by ours. False if it is no longer what it was.
    private func takeOver(_ metadataName: String) throws(StorageError) -> Bool {
        let dead: OpenFile
        do {
            // For writing, since NFS makes `flock` of it, which asks for that.
            dead = try OpenFile(path(names.metadata), O_RDWR, "put", key: key)
        } catch {
            if error.kind == .notFound { return false }
            throw error
        }
        while flock(dead.descriptor, LOCK_EX) != 0 {
            if errno != EINTR { throw StorageError(errno: errno, "put", key: key, "flock") }
        }
        // It may have become another, living claim since we saw the dead one. The order of the two looks matters: a body's
        // hidden name goes only after the object has come.
        var current = stat()
        guard stat(path(names.metadata), &current) == 0, current.st_ino == (try dead.status("put", key: key)).st_ino
        else { return false }
        if let claim = try FileNames.metadata(of: dead, "put", key: key), names.isHidden(claim.body), exists(claim.body)
        {
            return false
        }
        if exists(names.object) { return false }
        // `rename` of two names of one file does nothing; ours is another file, always.
        guard rename(path(metadataName), path(names.metadata)) == 0 else {
            throw StorageError(errno: errno, "put", key: key, "rename of the metadata")
        }
        return true
    }

    /// Step 3, for our own claim.
    private func execute(_ body: String) throws(StorageError) {
        if link(path(body), path(names.object)) == 0 { return }
        // Another has done it for us, and perhaps swept the hidden name as well.
        guard errno == EEXIST || errno == ENOENT, exists(names.object) else {
            throw StorageError(errno: errno, "put", key: key, "link of the object")
        }
    }

    /// Unconditional: not in one step with the metadata.
    private func replace(_ body: String, _ metadataName: String, etag: String) throws(StorageError) -> PutResult {
        try uncertain { () throws(StorageError) in
            for (from, to) in [(metadataName, names.metadata), (body, names.object)] {
                if rename(path(from), path(to)) != 0 { throw StorageError(errno: errno, "put", key: key, "rename") }
                try synchronizeDirectory()
            }
        }
        return finished(.created(etag: etag))
    }

    /// Once the claim may be made, a failure no longer means that nothing was stored.
    private func uncertain(_ work: () throws(StorageError) -> Void) throws(StorageError) {
        do {
            try work()
        } catch {
            throw StorageError(
                .indefinite, error.operation, key: key, code: error.code, error.message, hint: error.hint)
        }
    }

    /// The object is another's. It is reported only when it is sure to stay: its writer may not have come so far.
    private func lost() throws(StorageError) -> PutResult {
        try synchronizeDirectory()
        return finished(.alreadyExists)
    }

    /// Step 4. A leftover that stays does no harm.
    private func finished(_ result: PutResult) -> PutResult {
        guard let listing = opendir(directory) else { return result }
        defer { closedir(listing) }
        while let entry = readdir(listing) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if names.isHidden(name) { unlink(path(name)) }
        }
        return result
    }

    private func write(_ body: ObjectBody, to name: String) throws(StorageError) -> SHA256Digest {
        let file = try OpenFile(path(name), O_WRONLY | O_CREAT | O_EXCL, "put", key: key)
        var hasher = try SHA256Hasher()
        var offset = 0
        try body.pieces("put", key: key) { piece throws(StorageError) in
            if abort.isRaised { throw StorageError(.aborted, "put", key: key, "ended by a shutdown") }
            hasher.update(piece)
            try file.write(piece, at: offset, "put", key: key)
            offset += piece.count
        }
        try file.synchronize("put", key: key)
        return try hasher.finish()
    }

    private func synchronizeDirectory() throws(StorageError) {
        try OpenFile(directory.isEmpty ? "/" : directory, O_RDONLY | O_DIRECTORY, "put", key: key)
            .synchronize("put", key: key)
    }

    private func exists(_ name: String) -> Bool { access(path(name), F_OK) == 0 }

    private func path(_ name: String) -> String { "\(directory)/\(name)" }
}
