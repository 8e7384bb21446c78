// The data sets that a job may name: their files, shapes, class names and
// normalisation constants.
#ifndef DASM_COMMON_DATASET_KNOWN_DATASET_H_
#define DASM_COMMON_DATASET_KNOWN_DATASET_H_

#include <string>
#include <string_view>
#include <vector>

#include "common/spec/job_spec.h"

namespace dasm {

struct PublicDataset {
  struct File {
    std::string role;
    std::vector<std::string> names;  // the first that is there
  };
  std::string name;
  DatasetSpec::Format format = DatasetSpec::Format::kIdx;
  std::vector<std::string> folders;  // below a --data folder, in this order
  std::vector<File> files;
  int label_bytes = 1;
  int channels = 0;
  int side = 0;
  std::vector<std::string> classes;
  // The constants that DC and IDC train with, not always the measured ones.
  // CIFAR-100 has CIFAR-10's, as IDC (data.py); DC uses others.
  std::vector<double> mean;
  std::vector<double> std;
  std::string remedy;  // where the files come from
};

// mnist, fashion-mnist, svhn, cifar-10, cifar-100; null for another name.
const PublicDataset* FindPublicDataset(std::string_view name);
const std::vector<PublicDataset>& PublicDatasets();

}  // namespace dasm

#endif  // DASM_COMMON_DATASET_KNOWN_DATASET_H_
