// Eigenvalues and eigenvectors of a symmetric matrix, by the divide and conquer
// method of LAPACK (dsyevd) as OpenBLAS has it. LibTorch's own LAPACK takes
// twice as long on processors that are not Intel's, and chooses its kernels by
// the vendor, so that its bits would differ within a numerics class.
//
// OpenBLAS is opened by name: linked, its functions and LibTorch's of the same
// names would take each other's calls.
// Determinism: kEigenThreads threads of OpenMP whatever the machine has, which
// decides bits; the instruction set is OPENBLAS_CORETYPE's.
#ifndef DASM_WORKER_ENGINE_DATASET_EIGENVECTORS_H_
#define DASM_WORKER_ENGINE_DATASET_EIGENVECTORS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace dasm {

inline constexpr int kEigenThreads = 2;

// e.g. "0.3.21". FAILED_PRECONDITION, saying what to install, where there is
// none, or one without OpenMP.
absl::StatusOr<std::string> OpenBlasVersion();

// Replaces the symmetric, finite `matrix` [n, n] by its eigenvectors, one a
// row, and fills `values` [n], ascending. Errors: those of OpenBlasVersion;
// INTERNAL where the method does not converge. n is at most 16,384. Memory: 2
// n^2 doubles of its own. Thread-safe.
absl::Status FindEigenvectors(absl::Span<double> matrix,
                              absl::Span<double> values);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_DATASET_EIGENVECTORS_H_
