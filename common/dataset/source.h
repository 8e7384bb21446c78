// What a data set holds, as far as it can be told and checked without decoding:
// headers, sizes, counts. Used at submit by the coordinator and before reading
// by the worker. Where its files lie: dataset_files.h.
#ifndef DASM_COMMON_DATASET_SOURCE_H_
#define DASM_COMMON_DATASET_SOURCE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/dataset/data_roots.h"
#include "common/dataset/dataset_files.h"
#include "common/spec/job_spec.h"

namespace dasm {

struct DatasetSource {
  int classes = 0;  // 0 where only the content tells
  int channels = 0;
  int height = 0;
  int width = 0;
  int64_t train_images = 0;
  int64_t test_images = 0;
  int64_t smallest_class = 0;  // training images; 0: not known from headers
  std::vector<SourceFile> files;
};

// The files of `spec` (LocateDataset) and what they hold. Facts and digests of
// unchanged files (path, size, modification time, inode) are remembered in this
// process. Errors of LocateDataset, and
//   FAILED_PRECONDITION (field dataset..., DATA)  truncated or wrong: names the
//     file, what is wrong and the remedy
absl::StatusOr<DatasetSource> ProbeDataset(const DatasetSpec& spec,
                                           const DataRoots& roots);

struct SetSource {
  int64_t images = 0;
  int channels = 0;
  int height = 0;
  int width = 0;
  std::vector<SourceFile> files;
};
// The arrays of an evaluate-only job, by their headers. Errors as above (field
// synthetic_set...). INVALID_ARGUMENT for a set that is given by digest.
absl::StatusOr<SetSource> ProbeSyntheticSet(const SyntheticSetSpec& spec,
                                            const DataRoots& roots);

}  // namespace dasm

#endif  // DASM_COMMON_DATASET_SOURCE_H_
