#include "common/artifact/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/file_system.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"

namespace dasm {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the format is little endian and is mapped as it is");

constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kMaxDimensions = 64;
constexpr char kMetadata[] = "__metadata__";

constexpr std::array<std::pair<DType, const char*>, 5> kDTypes = {{
    {DType::kU8, "U8"},
    {DType::kI32, "I32"},
    {DType::kI64, "I64"},
    {DType::kF32, "F32"},
    {DType::kF64, "F64"},
}};

const char* Name(DType dtype) {
  for (const auto& [value, name] : kDTypes) {
    if (value == dtype) return name;
  }
  return "?";
}

// A name of the file in quotes: its control characters stay out of terminals.
std::string Quoted(const std::string& name) {
  return absl::StrCat("\"", absl::Utf8SafeCHexEscape(name), "\"");
}

// What a header says of a tensor, unchecked.
struct Entry {
  std::string dtype;
  std::vector<uint64_t> shape;
  std::vector<uint64_t> offsets;
};

// Takes the header's JSON event by event: nothing is built that the format
// does not know, nesting ends at three levels, and a key that comes twice is
// seen (a document tree would drop one).
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::map<std::string, Entry> entries;
  std::map<std::string, std::string> metadata;
  std::string error;

  bool key(std::string& name) override {
    if (level_ == Level::kTop) {
      name_ = name;
      const bool fresh = name == kMetadata ? !std::exchange(has_metadata_, true)
                                           : entries.try_emplace(name).second;
      return fresh || Fail(absl::StrCat(Quoted(name), " is there twice"));
    }
    member_ = name;
    if (level_ == Level::kMetadata) {
      return metadata.try_emplace(name).second ||
             Fail(absl::StrCat("metadata ", Quoted(name), " is there twice"));
    }
    if (name != "dtype" && name != "shape" && name != "data_offsets") {
      return Fail(absl::StrCat("tensor ", Quoted(name_), " has a member ",
                               Quoted(name)));
    }
    return members_.insert(name).second ||
           Fail(absl::StrCat("tensor ", Quoted(name_), " has two members ",
                             Quoted(name)));
  }
  bool start_object(size_t) override {
    if (level_ == Level::kStart) {
      level_ = Level::kTop;
    } else if (level_ == Level::kTop) {
      level_ = name_ == kMetadata ? Level::kMetadata : Level::kTensor;
      members_.clear();
    } else {
      return Unexpected("object");
    }
    return true;
  }
  bool end_object() override {
    if (level_ == Level::kTensor && members_.size() != 3) {
      return Fail(absl::StrCat("tensor ", Quoted(name_),
                               " lacks dtype, shape or data_offsets"));
    }
    level_ = level_ == Level::kTop ? Level::kStart : Level::kTop;
    return true;
  }
  bool start_array(size_t) override {
    if (level_ != Level::kTensor || member_ == "dtype") {
      return Unexpected("array");
    }
    level_ = Level::kNumbers;
    return true;
  }
  bool end_array() override {
    level_ = Level::kTensor;
    return true;
  }
  bool number_unsigned(uint64_t value) override {
    if (level_ != Level::kNumbers) return Unexpected("number");
    Entry& entry = entries[name_];
    auto& numbers = member_ == "shape" ? entry.shape : entry.offsets;
    if (numbers.size() == kMaxDimensions) {
      return Fail(absl::StrCat("tensor ", Quoted(name_), " has more than ",
                               kMaxDimensions, " numbers in ", member_));
    }
    numbers.push_back(value);
    return true;
  }
  bool string(std::string& value) override {
    if (level_ == Level::kMetadata) {
      metadata[member_] = value;
      return true;
    }
    if (level_ != Level::kTensor || member_ != "dtype") {
      return Unexpected("string");
    }
    entries[name_].dtype = value;
    return true;
  }
  bool number_integer(int64_t) override {
    return Unexpected("negative number");
  }
  bool number_float(double, const std::string&) override {
    return Unexpected("number that is not a whole one");
  }
  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("boolean"); }
  bool binary(nlohmann::json::binary_t&) override {
    return Unexpected("binary value");
  }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Fail(absl::StrCat("the header is not JSON at byte ", 8 + position));
  }

 private:
  enum class Level { kStart, kTop, kMetadata, kTensor, kNumbers };

  bool Fail(std::string message) {
    error = std::move(message);
    return false;
  }
  bool Unexpected(const char* what) {
    return Fail(absl::StrCat("unexpected ", what, " in ", Quoted(name_)));
  }

  Level level_ = Level::kStart;
  bool has_metadata_ = false;
  std::string name_;
  std::string member_;
  std::set<std::string> members_;
};

absl::StatusOr<DType> ParseDType(const std::string& text) {
  for (const auto& [value, name] : kDTypes) {
    if (text == name) return value;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("dtype \"", text, "\" is none of U8, I32, I64, F32, F64"));
}

// Checks one entry by itself; its data pointer is filled in later.
absl::StatusOr<TensorView> ToView(const Entry& entry, uint64_t data_bytes) {
  TensorView view;
  DASM_ASSIGN_OR_RETURN(view.dtype, ParseDType(entry.dtype));
  if (entry.offsets.size() != 2 || entry.offsets[0] > entry.offsets[1] ||
      entry.offsets[1] > data_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("data_offsets do not lie in the file's ", data_bytes,
                     " bytes of data"));
  }
  int64_t bytes = SizeOf(view.dtype);
  for (uint64_t size : entry.shape) {
    // The product of a shape with a zero must fit as well: whoever multiplies
    // its sizes in another order must not overflow.
    if (size > static_cast<uint64_t>(INT64_MAX) ||
        __builtin_mul_overflow(bytes, std::max<int64_t>(1, size), &bytes)) {
      return absl::InvalidArgumentError("the shape overflows");
    }
    view.shape.push_back(size);
  }
  if (static_cast<uint64_t>(view.size_bytes()) !=
      entry.offsets[1] - entry.offsets[0]) {
    return absl::InvalidArgumentError(absl::StrCat(
        "shape [", absl::StrJoin(entry.shape, ", "), "] of ", entry.dtype,
        " takes ", view.size_bytes(), " bytes, but data_offsets span ",
        entry.offsets[1] - entry.offsets[0]));
  }
  return view;
}

struct Layout {
  std::string header;  // length, JSON and padding
  std::vector<const TensorView*> order;
};

absl::StatusOr<Layout> LayOut(
    const std::map<std::string, TensorView>& tensors,
    const std::map<std::string, std::string>& metadata) {
  std::vector<std::pair<const std::string*, const TensorView*>> sorted;
  for (const auto& [name, view] : tensors) {
    if (name == kMetadata) {
      return absl::InvalidArgumentError(
          "a tensor cannot be named \"__metadata__\"");
    }
    sorted.emplace_back(&name, &view);
  }
  // Stable over the map's order of names. Descending sizes keep every tensor
  // aligned without holes.
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) {
                     return SizeOf(a.second->dtype) > SizeOf(b.second->dtype);
                   });
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  Layout layout;
  int64_t offset = 0;
  for (const auto& [name, view] : sorted) {
    const int64_t end = offset + view->size_bytes();
    header[*name] = {{"dtype", Name(view->dtype)},
                     {"shape", view->shape},
                     {"data_offsets", {offset, end}}};
    layout.order.push_back(view);
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::type_error&) {
    return absl::InvalidArgumentError(
        "a tensor's name or a metadata value is not UTF-8");
  }
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t size = text.size();
  layout.header.assign(reinterpret_cast<const char*>(&size), sizeof(size));
  layout.header += text;
  return layout;
}

std::string_view Bytes(const TensorView& view) {
  return std::string_view(static_cast<const char*>(view.data),
                          view.size_bytes());
}

}  // namespace

int64_t SizeOf(DType dtype) {
  switch (dtype) {
    case DType::kU8:
      return 1;
    case DType::kI32:
    case DType::kF32:
      return 4;
    case DType::kI64:
    case DType::kF64:
      return 8;
  }
  return 0;
}

int64_t TensorView::elements() const {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return count;
}

struct SafetensorsFile::State {
  std::string name;  // for errors
  void* mapping = nullptr;
  std::unique_ptr<char[]> copy;
  const char* bytes = nullptr;
  uint64_t size = 0;
  std::map<std::string, TensorView> tensors;
  std::map<std::string, std::string> metadata;

  ~State() {
    if (mapping != nullptr) munmap(mapping, size);
  }

  absl::Status Malformed(absl::string_view what) const {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " is not a sound safetensors file: ", what));
  }

  absl::Status Index() {
    uint64_t header_bytes;
    if (size < sizeof(header_bytes)) {
      return Malformed("it is shorter than 8 bytes");
    }
    std::memcpy(&header_bytes, bytes, sizeof(header_bytes));
    const char* header = bytes + sizeof(header_bytes);
    if (header_bytes > kMaxHeaderBytes ||
        header_bytes > size - sizeof(header_bytes)) {
      return Malformed(absl::StrCat("a header of ", header_bytes,
                                    " bytes exceeds the file or the limit of ",
                                    kMaxHeaderBytes));
    }
    if (header_bytes < 2 || *header != '{') {
      return Malformed("the header does not begin with \"{\"");
    }
    // The JSON reader would take one for the end and ignore the rest.
    if (std::memchr(header, '\0', header_bytes) != nullptr) {
      return Malformed("the header is not JSON: it holds a zero byte");
    }
    HeaderReader reader;
    if (!nlohmann::json::sax_parse(header, header + header_bytes, &reader)) {
      return Malformed(reader.error);
    }
    metadata = std::move(reader.metadata);
    const char* data = header + header_bytes;
    return AddTensors(reader.entries, data,
                      size - sizeof(header_bytes) - header_bytes);
  }

  absl::Status AddTensors(const std::map<std::string, Entry>& entries,
                          const char* data, uint64_t data_bytes) {
    std::vector<std::pair<uint64_t, uint64_t>> spans;
    for (const auto& [tensor, entry] : entries) {
      auto view = ToView(entry, data_bytes);
      if (!view.ok()) {
        return Malformed(absl::StrCat("tensor ", Quoted(tensor), ": ",
                                      view.status().message()));
      }
      view->data = data + entry.offsets[0];
      spans.emplace_back(entry.offsets[0], entry.offsets[1]);
      tensors.emplace(tensor, *std::move(view));
    }
    std::sort(spans.begin(), spans.end());
    uint64_t end = 0;
    for (const auto& [from, to] : spans) {
      if (from != end) {
        return Malformed(
            absl::StrCat(from < end ? "tensors overlap" : "there is a hole",
                         " at byte ", from, " of the data"));
      }
      end = to;
    }
    if (end != data_bytes) {
      return Malformed(absl::StrCat(data_bytes - end,
                                    " bytes at the end belong to no tensor"));
    }
    for (const auto& [tensor, view] : tensors) {
      if (reinterpret_cast<uintptr_t>(view.data) % SizeOf(view.dtype) != 0) {
        return Malformed(absl::StrCat(
            "tensor ", Quoted(tensor),
            ": its data is not aligned to its element size; pad the header "
            "to 8 bytes"));
      }
    }
    return absl::OkStatus();
  }
};

SafetensorsFile::SafetensorsFile(std::unique_ptr<State> state)
    : state_(std::move(state)) {}

SafetensorsFile::~SafetensorsFile() = default;

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(
    const std::string& path) {
  auto state = std::make_unique<State>();
  state->name = path;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, path);
  const auto close_file = absl::MakeCleanup([fd] { close(fd); });
  struct stat info;
  if (fstat(fd, &info) != 0) return ErrnoStatus(errno, path);
  if (!S_ISREG(info.st_mode)) return state->Malformed("it is not a file");
  if (info.st_size > 0) {
    void* mapping = mmap(nullptr, info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapping == MAP_FAILED) return ErrnoStatus(errno, path);
    state->mapping = mapping;
    state->bytes = static_cast<const char*>(mapping);
    state->size = info.st_size;
  }
  DASM_RETURN_IF_ERROR(state->Index());
  return std::unique_ptr<SafetensorsFile>(
      new SafetensorsFile(std::move(state)));
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Parse(
    std::string bytes) {
  auto state = std::make_unique<State>();
  state->name = "the input";
  // A short string lies inside of its object, without the alignment of new.
  state->copy = std::make_unique<char[]>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), state->copy.get());
  state->bytes = state->copy.get();
  state->size = bytes.size();
  DASM_RETURN_IF_ERROR(state->Index());
  return std::unique_ptr<SafetensorsFile>(
      new SafetensorsFile(std::move(state)));
}

const std::map<std::string, TensorView>& SafetensorsFile::tensors() const {
  return state_->tensors;
}

const std::map<std::string, std::string>& SafetensorsFile::metadata() const {
  return state_->metadata;
}

absl::StatusOr<TensorView> SafetensorsFile::Get(const std::string& name,
                                                DType dtype,
                                                int dimensions) const {
  const auto found = state_->tensors.find(name);
  if (found == state_->tensors.end()) {
    return absl::NotFoundError(
        absl::StrCat(state_->name, " has no tensor \"", name, "\""));
  }
  const TensorView& view = found->second;
  if (view.dtype != dtype ||
      view.shape.size() != static_cast<size_t>(dimensions)) {
    return absl::InvalidArgumentError(absl::StrCat(
        state_->name, ": tensor \"", name, "\" is ", Name(view.dtype), " with ",
        view.shape.size(), " dimensions; wanted is ", Name(dtype), " with ",
        dimensions));
  }
  return view;
}

absl::Status WriteSafetensors(
    const std::string& path, const std::map<std::string, TensorView>& tensors,
    const std::map<std::string, std::string>& metadata) {
  DASM_ASSIGN_OR_RETURN(const Layout layout, LayOut(tensors, metadata));
  DASM_ASSIGN_OR_RETURN(const auto writer, LocalFileSystem()->Create(path));
  DASM_RETURN_IF_ERROR(writer->Append(layout.header));
  for (const TensorView* view : layout.order) {
    DASM_RETURN_IF_ERROR(writer->Append(Bytes(*view)));
  }
  return writer->Commit();
}

struct SafetensorsWriter::State {
  struct Place {
    int64_t begin;  // in the file
    TensorView view;
  };

  std::string path;
  std::string temporary;
  int fd = -1;
  int64_t missing = 0;  // bytes to be written
  int64_t size = 0;
  std::map<std::string, Place> tensors;
  void* mapping = nullptr;

  ~State() {
    if (mapping != nullptr) munmap(mapping, size);
    if (fd < 0) return;
    close(fd);
    unlink(temporary.c_str());
  }

  absl::Status Put(std::string_view bytes, int64_t at) const {
    while (!bytes.empty()) {
      const ssize_t written = pwrite(fd, bytes.data(), bytes.size(), at);
      if (written < 0) {
        if (errno == EINTR) continue;
        return ErrnoStatus(errno, absl::StrCat("cannot write ", path));
      }
      bytes.remove_prefix(written);
      at += written;
    }
    return absl::OkStatus();
  }
};

SafetensorsWriter::SafetensorsWriter(std::unique_ptr<State> state)
    : state_(std::move(state)) {}

SafetensorsWriter::~SafetensorsWriter() = default;

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(
    const std::string& path, const std::map<std::string, TensorView>& tensors,
    const std::map<std::string, std::string>& metadata) {
  DASM_ASSIGN_OR_RETURN(const Layout layout, LayOut(tensors, metadata));
  auto state = std::make_unique<State>();
  state->path = path;
  const size_t slash = path.rfind('/');
  const size_t name = slash == std::string::npos ? 0 : slash + 1;
  state->temporary = absl::StrCat(
      path.substr(0, name),
      absl::string_view(kTemporaryPrefix.data(), kTemporaryPrefix.size()),
      path.substr(name));
  state->fd = open(state->temporary.c_str(),
                   O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (state->fd < 0) {
    return ErrnoStatus(errno, absl::StrCat("cannot create ", path));
  }
  int64_t end = layout.header.size();
  for (const TensorView* view : layout.order) {
    for (const auto& [key, tensor] : tensors) {
      if (&tensor == view) state->tensors[key] = {end, tensor};
    }
    end += view->size_bytes();
  }
  state->size = end;
  state->missing = end - static_cast<int64_t>(layout.header.size());
  if (ftruncate(state->fd, end) != 0) {
    return ErrnoStatus(errno, absl::StrCat("cannot write ", path));
  }
  DASM_RETURN_IF_ERROR(state->Put(layout.header, 0));
  return std::unique_ptr<SafetensorsWriter>(
      new SafetensorsWriter(std::move(state)));
}

absl::Status SafetensorsWriter::Write(const std::string& name, int64_t offset,
                                      std::string_view bytes) {
  const State::Place& place = state_->tensors.at(name);
  DASM_CHECK(offset >= 0 && offset + static_cast<int64_t>(bytes.size()) <=
                                place.view.size_bytes());
  state_->missing -= bytes.size();
  DASM_RETURN_IF_ERROR(state_->Put(bytes, place.begin + offset));
  // The disk begins now, so that Commit waits for less. A hint: its errors are
  // those of Commit.
  sync_file_range(state_->fd, place.begin + offset,
                  static_cast<off_t>(bytes.size()), SYNC_FILE_RANGE_WRITE);
  return absl::OkStatus();
}

absl::StatusOr<TensorView> SafetensorsWriter::View(const std::string& name) {
  if (state_->mapping == nullptr) {
    void* mapping =
        mmap(nullptr, state_->size, PROT_READ, MAP_SHARED, state_->fd, 0);
    if (mapping == MAP_FAILED) return ErrnoStatus(errno, state_->path);
    state_->mapping = mapping;
  }
  const State::Place& place = state_->tensors.at(name);
  TensorView view = place.view;
  view.data = static_cast<const char*>(state_->mapping) + place.begin;
  return view;
}

absl::Status SafetensorsWriter::Commit() {
  if (state_->missing != 0) {
    return absl::InternalError(absl::StrCat(state_->path, ": ", state_->missing,
                                            " bytes were never written"));
  }
  if (fsync(state_->fd) != 0) {
    return ErrnoStatus(errno, absl::StrCat("cannot sync ", state_->path));
  }
  DASM_RETURN_IF_ERROR(
      LocalFileSystem()->Rename(state_->temporary, state_->path));
  close(std::exchange(state_->fd, -1));
  return absl::OkStatus();
}

std::string SerializeSafetensors(
    const std::map<std::string, TensorView>& tensors,
    const std::map<std::string, std::string>& metadata) {
  const auto layout = LayOut(tensors, metadata);
  DASM_CHECK(layout.ok());
  std::string bytes = layout->header;
  for (const TensorView* view : layout->order) bytes.append(Bytes(*view));
  return bytes;
}

}  // namespace dasm
