// Shows Abseil's locks to ThreadSanitizer. The packaged Abseil is not built
// with it, so every access under an absl::Mutex would look like a race. These
// definitions take the place of the library's, also for gRPC, which locks by
// Abseil: each tells the sanitizer what it orders and calls the original.
//
// While the original runs, accesses are not looked at: it may evaluate another
// thread's Condition after the release was told.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void __tsan_ignore_thread_begin();
void __tsan_ignore_thread_end();
}

namespace {

void* Original(const char* symbol) {
  void* found = dlsym(RTLD_NEXT, symbol);
  if (found == nullptr) {
    std::fprintf(stderr, "tsan_locks: this Abseil has no %s\n", symbol);
    std::abort();
  }
  return found;
}

struct Unseen {
  Unseen() { __tsan_ignore_thread_begin(); }
  ~Unseen() { __tsan_ignore_thread_end(); }
};

void Acquire(const void* lock) { __tsan_acquire(const_cast<void*>(lock)); }
void Release(const void* lock) { __tsan_release(const_cast<void*>(lock)); }

// Calls the function of this symbol, whose first argument is `self`.
template <typename Result, typename Self, typename... Arguments>
Result Call(const char* symbol, void** cache, Self* self,
            Arguments... arguments) {
  const Unseen unseen;
  if (__atomic_load_n(cache, __ATOMIC_ACQUIRE) == nullptr) {
    __atomic_store_n(cache, Original(symbol), __ATOMIC_RELEASE);
  }
  using Function = Result (*)(Self*, Arguments...);
  return reinterpret_cast<Function>(*cache)(self, arguments...);
}

}  // namespace

#define DASM_CALL(result, symbol, ...)                \
  [&] {                                               \
    static void* cache = nullptr;                     \
    return Call<result>(symbol, &cache, __VA_ARGS__); \
  }()
#define DASM_ABSL "_ZN4absl7debian3"
#define DASM_ABSL_CONST "_ZNK4absl7debian3"

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  DASM_CALL(void, DASM_ABSL "5Mutex4LockEv", this);
  Acquire(this);
}

void Mutex::Unlock() {
  Release(this);
  DASM_CALL(void, DASM_ABSL "5Mutex6UnlockEv", this);
}

bool Mutex::TryLock() {
  const bool locked = DASM_CALL(bool, DASM_ABSL "5Mutex7TryLockEv", this);
  if (locked) Acquire(this);
  return locked;
}

void Mutex::ReaderLock() {
  DASM_CALL(void, DASM_ABSL "5Mutex10ReaderLockEv", this);
  Acquire(this);
}

void Mutex::ReaderUnlock() {
  Release(this);
  DASM_CALL(void, DASM_ABSL "5Mutex12ReaderUnlockEv", this);
}

void Mutex::LockWhen(const Condition& condition) {
  DASM_CALL(void, DASM_ABSL "5Mutex8LockWhenERKNS0_9ConditionE", this,
            &condition);
  Acquire(this);
}

bool Mutex::LockWhenWithTimeout(const Condition& condition, Duration timeout) {
  const bool met = DASM_CALL(bool,
                             DASM_ABSL
                             "5Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_"
                             "8DurationE",
                             this, &condition, timeout);
  Acquire(this);
  return met;
}

bool Mutex::LockWhenWithDeadline(const Condition& condition, Time deadline) {
  const bool met =
      DASM_CALL(bool,
                DASM_ABSL
                "5Mutex20LockWhenWithDeadlineERKNS0_9ConditionENS0_"
                "4TimeE",
                this, &condition, deadline);
  Acquire(this);
  return met;
}

void Mutex::Await(const Condition& condition) {
  Release(this);
  DASM_CALL(void, DASM_ABSL "5Mutex5AwaitERKNS0_9ConditionE", this, &condition);
  Acquire(this);
}

bool Mutex::AwaitWithTimeout(const Condition& condition, Duration timeout) {
  Release(this);
  const bool met = DASM_CALL(
      bool,
      DASM_ABSL "5Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE",
      this, &condition, timeout);
  Acquire(this);
  return met;
}

bool Mutex::AwaitWithDeadline(const Condition& condition, Time deadline) {
  Release(this);
  const bool met = DASM_CALL(
      bool, DASM_ABSL "5Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE",
      this, &condition, deadline);
  Acquire(this);
  return met;
}

void CondVar::Wait(Mutex* mutex) {
  Release(mutex);
  DASM_CALL(void, DASM_ABSL "7CondVar4WaitEPNS0_5MutexE", this, mutex);
  Acquire(mutex);
}

bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  Release(mutex);
  const bool timed_out = DASM_CALL(
      bool, DASM_ABSL "7CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE",
      this, mutex, timeout);
  Acquire(mutex);
  return timed_out;
}

bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  Release(mutex);
  const bool timed_out = DASM_CALL(
      bool, DASM_ABSL "7CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE", this,
      mutex, deadline);
  Acquire(mutex);
  return timed_out;
}

// HasBeenNotified is inline and loads the flag itself.
void Notification::Notify() {
  Release(this);
  Release(&notified_yet_);
  DASM_CALL(void, DASM_ABSL "12Notification6NotifyEv", this);
}

void Notification::WaitForNotification() const {
  DASM_CALL(void, DASM_ABSL_CONST "12Notification19WaitForNotificationEv",
            this);
  Acquire(this);
}

bool Notification::WaitForNotificationWithTimeout(Duration timeout) const {
  const bool notified =
      DASM_CALL(bool,
                DASM_ABSL_CONST
                "12Notification30WaitForNotificationWithTimeoutENS0_"
                "8DurationE",
                this, timeout);
  if (notified) Acquire(this);
  return notified;
}

bool Notification::WaitForNotificationWithDeadline(Time deadline) const {
  const bool notified =
      DASM_CALL(bool,
                DASM_ABSL_CONST
                "12Notification31WaitForNotificationWithDeadlineENS0_"
                "4TimeE",
                this, deadline);
  if (notified) Acquire(this);
  return notified;
}

bool BlockingCounter::DecrementCount() {
  Release(this);
  return DASM_CALL(bool, DASM_ABSL "15BlockingCounter14DecrementCountEv", this);
}

void BlockingCounter::Wait() {
  DASM_CALL(void, DASM_ABSL "15BlockingCounter4WaitEv", this);
  Acquire(this);
}

ABSL_NAMESPACE_END
}  // namespace absl
