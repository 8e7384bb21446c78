// The checksum of what ranks send each other: CRC-32C in eight lanes (the
// 8-byte word w goes to lane w mod 8), then over the lanes' values and the
// bytes that are left. Lanes make it as fast as memory where the processor has
// the instruction; the value is the same everywhere.
#ifndef DASM_WORKER_COLLECTIVE_CHECKSUM_H_
#define DASM_WORKER_COLLECTIVE_CHECKSUM_H_

#include <cstdint>

#include "absl/types/span.h"

namespace dasm {

// Finds every change within four aligned bytes, others but for 1 in 2^32.
uint32_t Checksum(absl::Span<const char> bytes);

namespace internal {
// Without the instruction; for tests of both.
uint32_t PortableChecksum(absl::Span<const char> bytes);
}  // namespace internal

}  // namespace dasm

#endif  // DASM_WORKER_COLLECTIVE_CHECKSUM_H_
