#include "common/dataset/source.h"

#include <algorithm>
#include <fstream>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/base/status_macros.h"
#include "common/dataset/cifar_binary.h"
#include "common/dataset/data_error.h"
#include "common/dataset/file_memo.h"
#include "common/dataset/idx.h"
#include "common/dataset/image_folder.h"
#include "common/dataset/npy.h"
#include "common/dataset/svhn_mat.h"
#include "common/spec/known_dataset.h"

namespace dasm {
namespace {

using Format = DatasetSpec::Format;

void Add(const std::vector<int64_t>& more, std::vector<int64_t>* counts) {
  if (counts->size() < more.size()) counts->resize(more.size());
  for (size_t i = 0; i < more.size(); ++i) (*counts)[i] += more[i];
}

// Without trailing zeros.
template <typename Counts>
std::vector<int64_t> Trimmed(const Counts& counts) {
  std::vector<int64_t> result(counts.begin(), counts.end());
  while (!result.empty() && result.back() == 0) result.pop_back();
  return result;
}

absl::StatusOr<FileFacts> LookAtIdxImages(const std::string& path) {
  DASM_ASSIGN_OR_RETURN(const std::vector<int64_t> shape,
                        ReadIdxShape(path, 3));
  FileFacts facts;
  facts.shape = {shape[0], 1, shape[1], shape[2]};
  return facts;
}

absl::StatusOr<FileFacts> LookAtIdxLabels(const std::string& path) {
  DASM_ASSIGN_OR_RETURN(const IdxArray labels, ReadIdx(path, 1));
  FileFacts facts;
  facts.shape = labels.shape;
  LabelCounts counts = {};
  for (uint8_t label : labels.values) ++counts[label];
  facts.label_counts = Trimmed(counts);
  return facts;
}

absl::StatusOr<FileFacts> LookAtSvhn(const std::string& path) {
  DASM_ASSIGN_OR_RETURN(const std::vector<int64_t> labels,
                        ReadSvhnLabels(path));
  FileFacts facts;
  facts.shape = {static_cast<int64_t>(labels.size()), 3, 32, 32};
  facts.label_counts.resize(10);
  for (int64_t label : labels) ++facts.label_counts[label];
  return facts;
}

// One half (training or test images) of a data set, as far as probed.
struct Half {
  std::string file;  // that errors about labels name
  std::string field;
  std::vector<int64_t> shape = {0, 0, 0, 0};
  std::vector<int64_t> label_counts;
};

absl::StatusOr<Half> ProbeIdxHalf(const std::vector<LocatedFile>& files,
                                  const std::string& name) {
  DASM_ASSIGN_OR_RETURN(
      const LocatedFile* images,
      WithRole(files, Format::kIdx, absl::StrCat(name, "_images")));
  DASM_ASSIGN_OR_RETURN(
      const LocatedFile* labels,
      WithRole(files, Format::kIdx, absl::StrCat(name, "_labels")));
  auto pixels = RememberFacts("idx images", images->absolute, LookAtIdxImages);
  if (!pixels.ok()) return AtField(pixels.status(), images->field);
  auto marks = RememberFacts("idx labels", labels->absolute, LookAtIdxLabels);
  if (!marks.ok()) return AtField(marks.status(), labels->field);
  if (pixels->shape[0] != marks->shape[0]) {
    return AtField(
        DataError(labels->absolute,
                  absl::StrFormat("%d labels for the %d images of %s; the two "
                                  "files do not belong together",
                                  marks->shape[0], pixels->shape[0],
                                  images->absolute)),
        labels->field);
  }
  return Half{labels->absolute, labels->field, pixels->shape,
              marks->label_counts};
}

absl::StatusOr<Half> ProbeCifarHalf(const std::vector<LocatedFile>& files,
                                    const std::string& name, int label_bytes) {
  DASM_ASSIGN_OR_RETURN(const std::vector<const LocatedFile*> parts,
                        WithPrefix(files, Format::kCifarBinary, name));
  Half half{parts[0]->absolute, parts[0]->field, {0, 3, 32, 32}, {}};
  for (const LocatedFile* part : parts) {
    auto facts = RememberFacts(
        absl::StrCat("cifar ", label_bytes), part->absolute,
        [&](const std::string& path) -> absl::StatusOr<FileFacts> {
          DASM_ASSIGN_OR_RETURN(const LabelCounts counts,
                                CountCifarLabels(path, label_bytes));
          FileFacts facts;
          facts.label_counts = Trimmed(counts);
          return facts;
        });
    if (!facts.ok()) return AtField(facts.status(), part->field);
    Add(facts->label_counts, &half.label_counts);
  }
  half.shape[0] = std::accumulate(half.label_counts.begin(),
                                  half.label_counts.end(), int64_t{0});
  return half;
}

absl::StatusOr<Half> ProbeSvhnHalf(const std::vector<LocatedFile>& files,
                                   const std::string& name) {
  DASM_ASSIGN_OR_RETURN(const LocatedFile* file,
                        WithRole(files, Format::kSvhnMat, name));
  auto facts = RememberFacts("svhn", file->absolute, LookAtSvhn);
  if (!facts.ok()) return AtField(facts.status(), file->field);
  return Half{file->absolute, file->field, facts->shape, facts->label_counts};
}

// Labels follow `classes`, which the training half defines.
absl::StatusOr<Half> ProbeFolderHalf(const std::vector<LocatedFile>& files,
                                     const std::string& name,
                                     const DatasetSpec& spec,
                                     std::vector<std::string>* classes) {
  DASM_ASSIGN_OR_RETURN(const LocatedFile* folder,
                        WithRole(files, Format::kImageFolder, name));
  auto found = ListImageFolder(folder->absolute);
  if (!found.ok()) return AtField(found.status(), folder->field);
  if (name == "train") {
    for (const ImageClass& each : *found) classes->push_back(each.name);
  }
  Half half{folder->absolute,
            folder->field,
            {0, spec.channels, spec.image_size, spec.image_size},
            std::vector<int64_t>(classes->size())};
  for (const ImageClass& each : *found) {
    const auto at =
        std::lower_bound(classes->begin(), classes->end(), each.name);
    if (at == classes->end() || *at != each.name) {
      return AtField(DataError(absl::StrCat(folder->absolute, "/", each.name),
                               "a class that the training folder has not"),
                     folder->field);
    }
    half.label_counts[at - classes->begin()] =
        static_cast<int64_t>(each.pictures.size());
    half.shape[0] += static_cast<int64_t>(each.pictures.size());
  }
  return half;
}

absl::Status CheckHalves(const Half& train, const Half& test, int classes) {
  for (const Half* half : {&train, &test}) {
    const int64_t labels = static_cast<int64_t>(half->label_counts.size());
    if (labels > classes) {
      return AtField(
          DataError(half->file,
                    absl::StrFormat("label %d, but there are %d classes (0 .. "
                                    "%d); fetch the file again or correct the "
                                    "number of classes",
                                    labels - 1, classes, classes - 1)),
          half->field);
    }
  }
  for (int c = 0; c < classes; ++c) {
    if (c >= static_cast<int>(train.label_counts.size()) ||
        train.label_counts[c] == 0) {
      return AtField(
          DataError(train.file,
                    absl::StrFormat("class %d of %d has no training image; "
                                    "correct the labels or the number of "
                                    "classes",
                                    c, classes)),
          train.field);
    }
  }
  for (int d = 1; d < 4; ++d) {
    if (train.shape[d] == test.shape[d]) continue;
    return AtField(
        DataError(
            test.file,
            absl::StrFormat("test images of %d x %d x %d, training "
                            "images of %d x %d x %d; both must be alike",
                            test.shape[1], test.shape[2], test.shape[3],
                            train.shape[1], train.shape[2], train.shape[3])),
        test.field);
  }
  return absl::OkStatus();
}

// The first part of a file, and its size.
struct Head {
  std::string bytes;
  int64_t size = 0;
};
absl::StatusOr<Head> ReadHead(const std::string& path) {
  Head head;
  auto size = LocalFileSystem()->Size(path);
  if (!size.ok()) return DataError(path, size.status().message());
  head.size = *size;
  std::ifstream in(path, std::ios::binary);
  head.bytes.resize(std::min<int64_t>(head.size, 64 << 10));
  in.read(head.bytes.data(), static_cast<std::streamsize>(head.bytes.size()));
  if (!in) return DataError(path, "cannot be read");
  return head;
}

absl::StatusOr<FileFacts> LookAtNpy(const std::string& path) {
  DASM_ASSIGN_OR_RETURN(const Head head, ReadHead(path));
  DASM_ASSIGN_OR_RETURN(const NpyHeader header,
                        ParseNpyHeader(head.bytes, head.size, path));
  FileFacts facts;
  facts.shape = header.shape;
  return facts;
}

// The shapes of images and labels one after the other.
absl::StatusOr<FileFacts> LookAtNpz(const std::string& path) {
  auto size = LocalFileSystem()->Size(path);
  if (!size.ok()) return DataError(path, size.status().message());
  if (*size > kMaxSetBytes) {
    return DataError(path, "larger than 1 GiB");
  }
  auto zip = LocalFileSystem()->Read(path);
  if (!zip.ok()) return DataError(path, zip.status().message());
  DASM_ASSIGN_OR_RETURN(const auto members,
                        ReadNpz(*zip, path, /*only_heads=*/true));
  FileFacts facts;
  for (const char* name : {"images", "labels"}) {
    const auto at = members.find(name);
    if (at == members.end()) {
      return DataError(path,
                       absl::StrFormat("no array %s; save images and labels "
                                       "with numpy.savez",
                                       name));
    }
    DASM_ASSIGN_OR_RETURN(const NpyHeader header,
                          ParseNpyHeader(at->second.bytes, at->second.size,
                                         absl::StrCat(path, ": ", name)));
    if (header.shape.size() != (name[0] == 'i' ? 4u : 1u)) {
      return DataError(path,
                       absl::StrFormat("%s has %d dimensions; images are [N, "
                                       "C, H, W], labels [N]",
                                       name, header.shape.size()));
    }
    facts.shape.insert(facts.shape.end(), header.shape.begin(),
                       header.shape.end());
  }
  return facts;
}
}  // namespace

absl::StatusOr<DatasetSource> ProbeDataset(const DatasetSpec& spec,
                                           const DataRoots& roots) {
  DASM_ASSIGN_OR_RETURN(const std::vector<LocatedFile> files,
                        LocateDataset(spec, roots));
  Format format = spec.format;
  int classes = spec.classes;
  int label_bytes = spec.label_bytes;
  if (const KnownDataset* known = FindKnownDataset(spec.name);
      known != nullptr && spec.files.empty()) {
    format = known->format;
    classes = known->classes;
    label_bytes = known->label_bytes;
  }

  Half train;
  Half test;
  std::vector<std::string> names;
  switch (format) {
    case Format::kIdx: {
      DASM_ASSIGN_OR_RETURN(train, ProbeIdxHalf(files, "train"));
      DASM_ASSIGN_OR_RETURN(test, ProbeIdxHalf(files, "test"));
      break;
    }
    case Format::kCifarBinary: {
      DASM_ASSIGN_OR_RETURN(train, ProbeCifarHalf(files, "train", label_bytes));
      DASM_ASSIGN_OR_RETURN(test, ProbeCifarHalf(files, "test", label_bytes));
      break;
    }
    case Format::kSvhnMat: {
      DASM_ASSIGN_OR_RETURN(train, ProbeSvhnHalf(files, "train"));
      DASM_ASSIGN_OR_RETURN(test, ProbeSvhnHalf(files, "test"));
      break;
    }
    case Format::kImageFolder: {
      DASM_ASSIGN_OR_RETURN(train,
                            ProbeFolderHalf(files, "train", spec, &names));
      DASM_ASSIGN_OR_RETURN(test, ProbeFolderHalf(files, "test", spec, &names));
      break;
    }
  }
  if (classes == 0) classes = static_cast<int>(train.label_counts.size());
  DASM_RETURN_IF_ERROR(CheckHalves(train, test, classes));

  DatasetSource source;
  source.classes = classes;
  source.channels = static_cast<int>(train.shape[1]);
  source.height = static_cast<int>(train.shape[2]);
  source.width = static_cast<int>(train.shape[3]);
  source.train_images = train.shape[0];
  source.test_images = test.shape[0];
  source.smallest_class =
      *std::min_element(train.label_counts.begin(), train.label_counts.end());
  for (const auto& [field, values] : {std::pair("dataset.mean", &spec.mean),
                                      std::pair("dataset.std", &spec.std)}) {
    if (values->empty() ||
        static_cast<int>(values->size()) == source.channels) {
      continue;
    }
    return WithReason(
        absl::FailedPreconditionError(absl::StrFormat(
            "%d values for images of %d channels; give one a channel",
            values->size(), source.channels)),
        "BAD_DATA", field);
  }
  for (const LocatedFile& file : files) {
    auto digest = SourceDigest(file.absolute);
    if (!digest.ok()) return AtField(digest.status(), file.field);
    source.files.push_back({file.role, file.relative, *std::move(digest)});
  }
  return source;
}

absl::StatusOr<SetSource> ProbeSyntheticSet(const SyntheticSetSpec& spec,
                                            const DataRoots& roots) {
  if (!spec.digest.empty()) {
    return InvalidField("synthetic_set.digest", "names no files to look at");
  }
  SetSource source;
  std::vector<int64_t> shape;
  std::string last_field = "synthetic_set";
  std::string last_path;
  for (const char* role : {"npz", "images", "labels"}) {
    const auto at = spec.files.find(role);
    if (at == spec.files.end()) continue;
    const bool npz = role[0] == 'n';
    last_field = absl::StrCat("synthetic_set.", npz ? "" : "npy.", role);
    DASM_ASSIGN_OR_RETURN(last_path, roots.Resolve(last_field, at->second));
    auto facts = RememberFacts(role, last_path, npz ? LookAtNpz : LookAtNpy);
    if (!facts.ok()) return AtField(facts.status(), last_field);
    if (!npz && facts->shape.size() != (role[0] == 'i' ? 4u : 1u)) {
      return AtField(
          DataError(last_path,
                    absl::StrFormat("%d dimensions; images are [N, C, H, W], "
                                    "labels [N]",
                                    facts->shape.size())),
          last_field);
    }
    shape.insert(shape.end(), facts->shape.begin(), facts->shape.end());
    auto digest = SourceDigest(last_path);
    if (!digest.ok()) return AtField(digest.status(), last_field);
    source.files.push_back({role, at->second, *std::move(digest)});
  }
  if (shape.size() != 5) {
    return InvalidField("synthetic_set",
                        "give either npz, or npy with images and labels");
  }
  if (shape[0] != shape[4]) {
    return AtField(DataError(last_path, absl::StrFormat("%d labels for %d "
                                                        "images",
                                                        shape[4], shape[0])),
                   last_field);
  }
  source.images = shape[0];
  source.channels = static_cast<int>(shape[1]);
  source.height = static_cast<int>(shape[2]);
  source.width = static_cast<int>(shape[3]);
  return source;
}

}  // namespace dasm
