// Turns what LibTorch throws into absl::Status, so that nothing is thrown out
// of the engine.
#ifndef DASM_WORKER_ENGINE_TASK_CATCH_TORCH_H_
#define DASM_WORKER_ENGINE_TASK_CATCH_TORCH_H_

#include <exception>
#include <string>
#include <utility>

#include "absl/status/status.h"

namespace dasm {

// Of the exception being handled:
//   RESOURCE_EXHAUSTED  out of memory; failure class OOM_DEVICE for an
//                       accelerator's, else OOM_HOST
//   UNIMPLEMENTED       an operator that this build lacks
//   INTERNAL            any other c10::Error (message without its backtrace)
//   UNKNOWN             anything else
absl::Status StatusOfException(const std::string& what,
                               std::exception_ptr exception);

// fn()'s result (a Status or a StatusOr), or the Status of what it threw.
template <typename Fn>
auto CatchTorch(const std::string& what, Fn&& fn) -> decltype(fn()) {
  try {
    return std::forward<Fn>(fn)();
  } catch (...) {
    return StatusOfException(what, std::current_exception());
  }
}

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_CATCH_TORCH_H_
