// Where the files of the data sets that a job may name lie, and what their
// classes are called. Their shape and statistics are in
// common/spec/known_dataset.h.
#ifndef DASM_COMMON_DATASET_PUBLIC_DATASET_H_
#define DASM_COMMON_DATASET_PUBLIC_DATASET_H_

#include <string>
#include <string_view>
#include <vector>

namespace dasm {

struct PublicDataset {
  struct File {
    std::string role;
    std::vector<std::string> names;  // the first that is there
  };
  std::string name;
  std::vector<std::string> folders;  // below a --data folder, in this order
  std::vector<File> files;
  std::vector<std::string> classes;
  std::string remedy;  // where the files come from
};

// mnist, fashion-mnist, svhn, cifar-10, cifar-100; null for another name.
const PublicDataset* FindPublicDataset(std::string_view name);
const std::vector<PublicDataset>& PublicDatasets();

}  // namespace dasm

#endif  // DASM_COMMON_DATASET_PUBLIC_DATASET_H_
