#include "worker/runner/memory_policy.h"

#include <malloc.h>

#include <climits>

namespace dasm {

void SetMemoryPolicy() {
  mallopt(M_ARENA_MAX, 1);
  // Large blocks from the heap, where they are kept, not from mmap.
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_TOP_PAD, 64 << 20);
}

}  // namespace dasm
