#include "common/dataset/public_dataset.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace dasm {
namespace {

std::vector<std::string> Words(const char* text) {
  return absl::StrSplit(text, ' ');
}

// "train-images-idx3-ubyte" and its other usual spellings.
std::vector<std::string> IdxNames(const std::string& stem,
                                  const std::string& type) {
  const std::string dashed = absl::StrCat(stem, "-", type);
  const std::string dotted = absl::StrCat(stem, ".", type);
  return {dashed, absl::StrCat(dashed, ".gz"), dotted,
          absl::StrCat(dotted, ".gz")};
}

std::vector<PublicDataset::File> IdxFiles() {
  return {{"train_images", IdxNames("train-images", "idx3-ubyte")},
          {"train_labels", IdxNames("train-labels", "idx1-ubyte")},
          {"test_images", IdxNames("t10k-images", "idx3-ubyte")},
          {"test_labels", IdxNames("t10k-labels", "idx1-ubyte")}};
}

std::vector<PublicDataset> MakePublicDatasets() {
  std::vector<PublicDataset> known(5);

  known[0] = {
      .name = "mnist",
      .folders = {"mnist", "MNIST/raw", "MNIST", "mnist-idx"},
      .files = IdxFiles(),
      .classes = Words("0 1 2 3 4 5 6 7 8 9"),
      .remedy =
          "put the four idx files (plain or .gz) into a folder \"mnist\" "
          "below a --data folder"};
  known[1] = {.name = "fashion-mnist",
              .folders = {"fashion-mnist", "FashionMNIST/raw", "FashionMNIST"},
              .files = IdxFiles(),
              .classes = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                          "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"},
              .remedy =
                  "install the Debian package dataset-fashion-mnist and give "
                  "--data /usr/share/datasets"};
  known[2] = {
      .name = "svhn",
      .folders = {"svhn", "SVHN"},
      .files = {{"train", {"train_32x32.mat"}}, {"test", {"test_32x32.mat"}}},
      .classes = Words("0 1 2 3 4 5 6 7 8 9"),
      .remedy =
          "put train_32x32.mat and test_32x32.mat into a folder \"svhn\" "
          "below a --data folder"};
  known[3] = {
      .name = "cifar-10",
      .folders = {"cifar-10-batches-bin", "cifar-10/cifar-10-batches-bin",
                  "cifar-10"},
      .files = {{"train.0", {"data_batch_1.bin"}},
                {"train.1", {"data_batch_2.bin"}},
                {"train.2", {"data_batch_3.bin"}},
                {"train.3", {"data_batch_4.bin"}},
                {"train.4", {"data_batch_5.bin"}},
                {"test.0", {"test_batch.bin"}}},
      .classes = Words("airplane automobile bird cat deer dog frog horse ship "
                       "truck"),
      .remedy =
          "unpack the binary version of CIFAR-10 "
          "(cifar-10-batches-bin) below a --data folder"};
  known[4] = {
      .name = "cifar-100",
      .folders = {"cifar-100-binary", "cifar-100/cifar-100-binary",
                  "cifar-100"},
      .files = {{"train.0", {"train.bin"}}, {"test.0", {"test.bin"}}},
      .classes = Words(
          "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle "
          "bowl boy bridge bus butterfly camel can castle caterpillar cattle "
          "chair chimpanzee clock cloud cockroach couch crab crocodile cup "
          "dinosaur dolphin elephant flatfish forest fox girl hamster house "
          "kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man "
          "maple_tree motorcycle mountain mouse mushroom oak_tree orange "
          "orchid otter palm_tree pear pickup_truck pine_tree plain plate "
          "poppy porcupine possum rabbit raccoon ray road rocket rose sea seal "
          "shark shrew skunk skyscraper snail snake spider squirrel streetcar "
          "sunflower sweet_pepper table tank telephone television tiger "
          "tractor train trout tulip turtle wardrobe whale willow_tree wolf "
          "woman worm"),
      .remedy =
          "unpack the binary version of CIFAR-100 (cifar-100-binary) "
          "below a --data folder"};
  return known;
}

}  // namespace

const std::vector<PublicDataset>& PublicDatasets() {
  static const auto* known =
      new std::vector<PublicDataset>(MakePublicDatasets());
  return *known;
}

const PublicDataset* FindPublicDataset(std::string_view name) {
  for (const PublicDataset& known : PublicDatasets()) {
    if (known.name == name) return &known;
  }
  return nullptr;
}

}  // namespace dasm
