// A Clock that moves only when told to.
#ifndef DASM_COMMON_BASE_FAKE_CLOCK_H_
#define DASM_COMMON_BASE_FAKE_CLOCK_H_

#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"

namespace dasm {

class FakeClock final : public Clock {
 public:
  explicit FakeClock(absl::Time start = absl::FromUnixSeconds(1'700'000'000))
      : now_(start) {}

  absl::Time Now() const override {
    absl::MutexLock lock(&mutex_);
    return now_;
  }
  absl::Duration Steady() const override {
    absl::MutexLock lock(&mutex_);
    return steady_;
  }
  // Moves both clocks.
  void Advance(absl::Duration by) {
    absl::MutexLock lock(&mutex_);
    now_ += by;
    steady_ += by;
  }
  // A jump of the wall clock alone (NTP, an operator).
  void JumpWall(absl::Duration by) {
    absl::MutexLock lock(&mutex_);
    now_ += by;
  }

 private:
  mutable absl::Mutex mutex_;
  absl::Time now_ ABSL_GUARDED_BY(mutex_);
  absl::Duration steady_ ABSL_GUARDED_BY(mutex_) = absl::Seconds(1000);
};

}  // namespace dasm

#endif  // DASM_COMMON_BASE_FAKE_CLOCK_H_
