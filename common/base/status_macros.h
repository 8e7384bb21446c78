// Early return on a failed absl::Status, in the shape of the macros that later
// Abseil releases ship.
#ifndef DASM_COMMON_BASE_STATUS_MACROS_H_
#define DASM_COMMON_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define DASM_RETURN_IF_ERROR(expr)                            \
  do {                                                        \
    if (absl::Status dasm_status = (expr); !dasm_status.ok()) \
      return dasm_status;                                     \
  } while (false)

#define DASM_ASSIGN_OR_RETURN(lhs, expr) \
  DASM_ASSIGN_OR_RETURN_IMPL_(DASM_CONCAT_(dasm_or_, __LINE__), lhs, expr)
#define DASM_CONCAT_IMPL_(a, b) a##b
#define DASM_CONCAT_(a, b) DASM_CONCAT_IMPL_(a, b)
#define DASM_ASSIGN_OR_RETURN_IMPL_(tmp, lhs, expr) \
  auto tmp = (expr);                                \
  if (!tmp.ok()) return std::move(tmp).status();    \
  lhs = *std::move(tmp)

#endif  // DASM_COMMON_BASE_STATUS_MACROS_H_
