#include "worker/engine/dataset/eigenvectors.h"

#include <ATen/Parallel.h>
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
// Debian's: the plain name is that of the variant that its alternatives prefer.
constexpr char kOpenMpLibrary[] =
    "/usr/lib/x86_64-linux-gnu/openblas-openmp/libopenblas.so.0";
constexpr char kRemedy[] = "; install libopenblas0-openmp";

struct OpenBlas {
  // LAPACK's, with an int for every integer.
  void (*dsyevd)(const char* job, const char* triangle, const int* n, double* a,
                 const int* stride, double* values, double* work,
                 const int* work_size, int* integers, const int* integers_size,
                 int* info);
  void (*set_num_threads)(int threads);
  int (*get_parallel)();
  const char* (*get_config)();  // "OpenBLAS 0.3.21 ..."
  std::string version;
};

absl::StatusOr<OpenBlas> Open(const char* library) {
  // Deep: its own calls stay within it, whatever else has the same names.
  void* const handle = dlopen(library, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
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
        absl::StrCat(library, " has no ", missing, kRemedy));
  }
  // One with threads of its own lets them wait by sched_yield: beside another
  // job's it took 90 s instead of 8.
  constexpr int kOpenMp = 2;
  if (blas.get_parallel() != kOpenMp) {
    return absl::FailedPreconditionError(
        absl::StrCat(library, " was built without OpenMP", kRemedy));
  }
  const std::vector<std::string> words = absl::StrSplit(blas.get_config(), ' ');
  if (words.size() < 2) {
    return absl::FailedPreconditionError(
        absl::StrCat(library, " does not say its version", kRemedy));
  }
  blas.version = words[1];
  return blas;
}

const absl::StatusOr<OpenBlas>& Opened() {
  static const absl::StatusOr<OpenBlas> blas = [] {
    absl::StatusOr<OpenBlas> found = Open(kOpenMpLibrary);
    return found.ok() ? found : Open(kLibrary);
  }();
  return blas;
}

// OpenMP's number of threads is the caller's, and LibTorch's too.
class EigenThreads {
 public:
  explicit EigenThreads(const OpenBlas& blas) : before_(at::get_num_threads()) {
    at::set_num_threads(kEigenThreads);
    blas.set_num_threads(kEigenThreads);
  }
  ~EigenThreads() { at::set_num_threads(before_); }
  EigenThreads(const EigenThreads&) = delete;
  EigenThreads& operator=(const EigenThreads&) = delete;

 private:
  const int before_;
};

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
  const EigenThreads threads(*Opened());
  // Its columns are our rows.
  Opened()->dsyevd("V", "L", &n, matrix.data(), &n, values.data(), work.get(),
                   &work_size, integers.get(), &integers_size, &info);
  if (info == 0) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("eigenvectors of a matrix of ", n, " x ", n,
                   " were not found (dsyevd: ", info, ")"));
}

}  // namespace dasm
