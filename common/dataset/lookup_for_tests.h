// Looking data sets up by name, for tests.
#ifndef DASM_COMMON_DATASET_LOOKUP_FOR_TESTS_H_
#define DASM_COMMON_DATASET_LOOKUP_FOR_TESTS_H_

#include <string>

#include "common/dataset/data_roots.h"
#include "common/dataset/test_files.h"
#include "common/spec/job_spec.h"

namespace dasm {

inline DataRoots Roots(const TestFolder& folder) {
  return *DataRoots::Create({folder.path()});
}

inline DatasetSpec Named(const std::string& name) {
  DatasetSpec spec;
  spec.name = name;
  return spec;
}

}  // namespace dasm

#endif  // DASM_COMMON_DATASET_LOOKUP_FOR_TESTS_H_
