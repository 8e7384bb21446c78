#include "worker/engine/dataset/eigenvectors.h"

#include <dlfcn.h>

#include <memory>
#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

constexpr char kLibrary[] = "libopenblas.so.0";
constexpr char kRemedy[] = "; install libopenblas0-pthread";

struct OpenBlas {
  // LAPACK's, with an int for every integer.
  void (*dsyevd)(const char* job, const char* triangle, const int* n, double* a,
                 const int* stride, double* values, double* work,
                 const int* work_size, int* integers, const int* integers_size,
                 int* info);
  void (*set_num_threads)(int threads);
  int (*get_parallel)();        // 0: one thread only
  const char* (*get_config)();  // "OpenBLAS 0.3.21 ..."
  std::string version;
};

absl::StatusOr<OpenBlas> Open() {
  // Deep: its own calls stay within it, whatever else has the same names.
  void* const handle = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
  if (handle == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("OpenBLAS cannot be loaded: ", dlerror(), kRemedy));
  }
  OpenBlas blas = {};
  const char* missing = nullptr;
  const auto find = [&](const char* name, auto* function) {
    *function = reinterpret_cast<std::remove_pointer_t<decltype(function)>>(
        dlsym(handle, name));
    if (*function == nullptr && missing == nullptr) missing = name;
  };
  find("dsyevd_", &blas.dsyevd);
  find("openblas_set_num_threads", &blas.set_num_threads);
  find("openblas_get_parallel", &blas.get_parallel);
  find("openblas_get_config", &blas.get_config);
  if (missing != nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat(kLibrary, " has no ", missing, kRemedy));
  }
  if (blas.get_parallel() == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(kLibrary, " computes with one thread only", kRemedy));
  }
  const std::vector<std::string> words = absl::StrSplit(blas.get_config(), ' ');
  if (words.size() < 2) {
    return absl::FailedPreconditionError(
        absl::StrCat(kLibrary, " does not say its version", kRemedy));
  }
  blas.version = words[1];
  blas.set_num_threads(kEigenThreads);
  return blas;
}

const absl::StatusOr<OpenBlas>& Opened() {
  static const absl::StatusOr<OpenBlas> blas = Open();
  return blas;
}

}  // namespace

absl::StatusOr<std::string> OpenBlasVersion() {
  DASM_RETURN_IF_ERROR(Opened().status());
  return Opened()->version;
}

absl::Status FindEigenvectors(absl::Span<double> matrix,
                              absl::Span<double> values) {
  DASM_CHECK(matrix.size() == values.size() * values.size());
  DASM_RETURN_IF_ERROR(Opened().status());
  const auto n = static_cast<int>(values.size());
  const int work_size = 1 + 6 * n + 2 * n * n;
  const int integers_size = 3 + 5 * n;
  const auto work = std::make_unique_for_overwrite<double[]>(work_size);
  const auto integers = std::make_unique_for_overwrite<int[]>(integers_size);
  int info = 0;
  // Its columns are our rows.
  Opened()->dsyevd("V", "L", &n, matrix.data(), &n, values.data(), work.get(),
                   &work_size, integers.get(), &integers_size, &info);
  if (info == 0) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("eigenvectors of a matrix of ", n, " x ", n,
                   " were not found (dsyevd: ", info, ")"));
}

}  // namespace dasm
