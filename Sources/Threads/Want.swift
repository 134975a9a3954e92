import Glibc

/// Ends the process where the system has nothing left to go on with: as a kill would, but says why. A trap of a release build says
/// nothing.
func endForWant(_ what: String) -> Never {
    let line = Array("sluice: \(what)\n".utf8)
    // SAFETY: the pointer is used within the call alone.
    _ = unsafe line.withUnsafeBytes { unsafe write(2, $0.baseAddress, $0.count) }
    _exit(EX_SOFTWARE)
}
