#include "worker/engine/task/catch_torch.h"

#include <c10/util/Exception.h>

#include <new>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/error.h"

namespace dasm {
namespace {

absl::Status OutOfMemory(const std::string& what, const std::string& message,
                         FailureClass failure) {
  return WithFailureClass(
      absl::ResourceExhaustedError(absl::StrCat(what, ": ", message)), failure);
}

}  // namespace

absl::Status StatusOfException(const std::string& what,
                               std::exception_ptr exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const c10::OutOfMemoryError& e) {
    return OutOfMemory(what, e.what_without_backtrace(),
                       FailureClass::kOomDevice);
  } catch (const c10::NotImplementedError& e) {
    return absl::UnimplementedError(
        absl::StrCat(what, ": ", e.what_without_backtrace()));
  } catch (const c10::Error& e) {
    // The CPU allocator has no type of its own.
    if (absl::StrContains(e.what_without_backtrace(),
                          "can't allocate memory")) {
      return OutOfMemory(what, e.what_without_backtrace(),
                         FailureClass::kOomHost);
    }
    return absl::InternalError(
        absl::StrCat(what, ": ", e.what_without_backtrace()));
  } catch (const std::bad_alloc& e) {
    return OutOfMemory(what, "out of memory", FailureClass::kOomHost);
  } catch (const std::exception& e) {
    return absl::UnknownError(absl::StrCat(what, ": ", e.what()));
  } catch (...) {
    return absl::UnknownError(absl::StrCat(what, ": unknown exception"));
  }
}

}  // namespace dasm
