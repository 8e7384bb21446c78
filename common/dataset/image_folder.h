// A folder with one folder of pictures a class: <class>/<picture>.png, .jpg or
// .jpeg in any case. Hidden entries and files with other endings are ignored.
#ifndef DASM_COMMON_DATASET_IMAGE_FOLDER_H_
#define DASM_COMMON_DATASET_IMAGE_FOLDER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/dataset/reader.h"

namespace dasm {

struct ImageClass {
  std::string name;
  std::vector<std::string> pictures;  // "<class>/<picture>", in byte order
};

// The classes in byte order of their names.
//   FAILED_PRECONDITION (DATA)  naming the folder: not there, no class, a class
//     without a picture, a link that leads out of the folder
absl::StatusOr<std::vector<ImageClass>> ListImageFolder(
    const std::string& folder);

// Decodes, resizes (image.h) and lays out every picture as planes; the label is
// the position of its class in `classes`. Grey pictures become three equal
// channels where 3 are asked for.
//   FAILED_PRECONDITION (DATA)  naming the picture: it does not decode, or is
//     coloured where 1 channel is asked for, or has transparency; naming the
//     folder of a class that is not in `classes`
absl::StatusOr<ImageSet> ReadImageFolder(
    const std::string& folder, const std::vector<std::string>& classes,
    int side, int channels);

}  // namespace dasm

#endif  // DASM_COMMON_DATASET_IMAGE_FOLDER_H_
