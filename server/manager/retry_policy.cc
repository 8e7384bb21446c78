#include "server/manager/retry_policy.h"

#include <algorithm>

namespace dasm {

RetryDecision DecideRetry(FailureClass failure, int failures) {
  switch (failure) {
    case FailureClass::kSpec:
    case FailureClass::kData:
    case FailureClass::kNumeric:
    case FailureClass::kOomDevice:
    case FailureClass::kOomHost:
      return {.retry = false};
    case FailureClass::kDeviceFault:
      return {.retry = failures < 3, .elsewhere = true};
    case FailureClass::kCollective:
      return {.retry = failures < 5};
    case FailureClass::kNodeLost:
      return {.retry = failures < 10};
    case FailureClass::kStorage:
      return {.retry = failures < 10,
              .back_off = std::min(absl::Seconds(60),
                                   absl::Seconds(1 << std::min(failures, 6)))};
    case FailureClass::kPreempted:
      return {.retry = true, .counts = false};
    case FailureClass::kInternal:
      return {.retry = failures < 3, .elsewhere = true};
  }
  return {};
}

}  // namespace dasm
