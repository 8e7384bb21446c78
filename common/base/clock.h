// Wall and steady time behind one interface, so that leases, deadlines and
// back-off are tested by moving a FakeClock (fake_clock.h).
#ifndef DASM_COMMON_BASE_CLOCK_H_
#define DASM_COMMON_BASE_CLOCK_H_

#include "absl/time/time.h"

namespace dasm {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // Wall time: for people and records; may jump.
  virtual absl::Time Now() const = 0;
  // Time since an arbitrary point; never goes back. Leases use this.
  virtual absl::Duration Steady() const = 0;
};

// The system's clocks; never destroyed.
Clock* SystemClock();

}  // namespace dasm

#endif  // DASM_COMMON_BASE_CLOCK_H_
