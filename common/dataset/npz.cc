#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/dataset/data_error.h"
#include "common/dataset/npy.h"

namespace dasm {
namespace {

constexpr int64_t kHeadBytes = 64 << 10;
constexpr char kSaveAgain[] = "; save it again with numpy.savez";

// Bounds-checked little-endian reads; a read outside gives 0 and is remembered.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  uint16_t U16(uint64_t at) { return Get<uint16_t>(at); }
  uint32_t U32(uint64_t at) { return Get<uint32_t>(at); }
  uint64_t U64(uint64_t at) { return Get<uint64_t>(at); }
  std::string_view Span(uint64_t at, uint64_t size) {
    if (at > bytes_.size() || size > bytes_.size() - at) {
      ok_ = false;
      return {};
    }
    return bytes_.substr(at, size);
  }
  bool ok() const { return ok_; }

 private:
  template <typename T>
  T Get(uint64_t at) {
    T value = 0;
    const std::string_view bytes = Span(at, sizeof(T));
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }

  std::string_view bytes_;
  bool ok_ = true;
};

struct Entry {
  std::string name;
  uint16_t flags = 0;
  uint16_t method = 0;
  uint32_t crc = 0;
  uint64_t compressed = 0;
  uint64_t size = 0;
  uint64_t offset = 0;
};

// Replaces the sizes that are 0xffffffff by those of the zip64 extra field.
void ApplyZip64(Reader* zip, uint64_t extra, uint64_t extra_size,
                Entry* entry) {
  uint64_t at = extra;
  while (zip->ok() && at + 4 <= extra + extra_size) {
    const uint16_t id = zip->U16(at);
    const uint64_t size = zip->U16(at + 2);
    uint64_t field = at + 4;
    at = field + size;
    if (id != 1) continue;
    for (uint64_t* value : {&entry->size, &entry->compressed, &entry->offset}) {
      if (*value != 0xffffffff || field + 8 > at) continue;
      *value = zip->U64(field);
      field += 8;
    }
  }
}

// The central directory. Empty when there is none.
std::vector<Entry> ReadDirectory(std::string_view bytes) {
  Reader zip(bytes);
  // The end record: 22 bytes and a comment of at most 65535.
  if (bytes.size() < 22) return {};
  uint64_t end = bytes.size() - 22;
  const uint64_t lowest = end > 65535 ? end - 65535 : 0;
  while (zip.U32(end) != 0x06054b50) {
    if (end == lowest) return {};
    --end;
  }
  uint64_t count = zip.U16(end + 10);
  uint64_t at = zip.U32(end + 16);
  if ((count == 0xffff || at == 0xffffffff) && end >= 20 &&
      zip.U32(end - 20) == 0x07064b50) {
    const uint64_t end64 = zip.U64(end - 12);
    if (zip.U32(end64) != 0x06064b50) return {};
    count = zip.U64(end64 + 32);
    at = zip.U64(end64 + 48);
  }
  std::vector<Entry> entries;
  for (uint64_t i = 0; i < count && zip.ok(); ++i) {
    if (zip.U32(at) != 0x02014b50) return {};
    Entry entry;
    entry.flags = zip.U16(at + 8);
    entry.method = zip.U16(at + 10);
    entry.crc = zip.U32(at + 16);
    entry.compressed = zip.U32(at + 20);
    entry.size = zip.U32(at + 24);
    entry.offset = zip.U32(at + 42);
    const uint64_t name_size = zip.U16(at + 28);
    const uint64_t extra_size = zip.U16(at + 30);
    entry.name = std::string(zip.Span(at + 46, name_size));
    ApplyZip64(&zip, at + 46 + name_size, extra_size, &entry);
    at += 46 + name_size + extra_size + zip.U16(at + 32);
    entries.push_back(std::move(entry));
  }
  if (!zip.ok()) return {};
  return entries;
}

// The first `want` bytes of a raw deflate stream; fewer where it ends or
// breaks.
std::string Inflate(std::string_view data, uint64_t want) {
  std::string out;
  z_stream stream = {};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return out;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  char buffer[1 << 16];
  int code = Z_OK;
  while (code == Z_OK && out.size() < want) {
    stream.next_out = reinterpret_cast<Bytef*>(buffer);
    stream.avail_out = static_cast<uInt>(
        std::min<uint64_t>(sizeof(buffer), want - out.size()));
    const uInt room = stream.avail_out;
    code = inflate(&stream, Z_NO_FLUSH);
    if (code == Z_OK || code == Z_STREAM_END) {
      out.append(buffer, room - stream.avail_out);
    }
  }
  inflateEnd(&stream);
  return out;
}

absl::StatusOr<std::string> ReadMember(std::string_view bytes,
                                       const Entry& entry,
                                       const std::string& name, uint64_t want) {
  const std::string member = absl::StrCat(name, ": ", entry.name);
  if ((entry.flags & 1) != 0) return DataError(member, "encrypted");
  Reader zip(bytes);
  const bool local = zip.U32(entry.offset) == 0x04034b50;
  const std::string_view data =
      zip.Span(entry.offset + 30 + zip.U16(entry.offset + 26) +
                   zip.U16(entry.offset + 28),
               entry.compressed);
  if (!zip.ok() || !local) {
    return DataError(member, absl::StrCat("truncated", kSaveAgain));
  }
  std::string out;
  if (entry.method == 0 && entry.size == entry.compressed) {
    out = std::string(data.substr(0, want));
  } else if (entry.method == 8) {
    out = Inflate(data, want);
  } else {
    return DataError(member, absl::StrFormat("compressed by method %d%s",
                                             entry.method, kSaveAgain));
  }
  if (out.size() != want) {
    return DataError(member, absl::StrCat("damaged or truncated", kSaveAgain));
  }
  if (want == entry.size &&
      crc32_z(0, reinterpret_cast<const Bytef*>(out.data()), out.size()) !=
          entry.crc) {
    return DataError(member,
                     absl::StrCat("damaged (CRC-32 differs)", kSaveAgain));
  }
  return out;
}

}  // namespace

absl::StatusOr<std::map<std::string, NpzMember>> ReadNpz(
    std::string_view zip, const std::string& name, bool only_heads) {
  const std::vector<Entry> entries = ReadDirectory(zip);
  if (entries.empty()) {
    return DataError(
        name, absl::StrCat("not a .npz archive, or truncated", kSaveAgain));
  }
  std::map<std::string, NpzMember> members;
  uint64_t total = 0;
  for (const Entry& entry : entries) {
    std::string key = entry.name;
    if (absl::EndsWith(key, ".npy")) key.resize(key.size() - 4);
    if (entry.size > kMaxSetBytes || entry.compressed > kMaxSetBytes ||
        (total += entry.size) > kMaxSetBytes) {
      return DataError(name, "arrays of more than 1 GiB together");
    }
    const uint64_t want =
        only_heads ? std::min<uint64_t>(entry.size, kHeadBytes) : entry.size;
    DASM_ASSIGN_OR_RETURN(std::string bytes,
                          ReadMember(zip, entry, name, want));
    if (!members
             .emplace(key, NpzMember{std::move(bytes),
                                     static_cast<int64_t>(entry.size)})
             .second) {
      return DataError(
          name, absl::StrFormat("two arrays named %s%s", key, kSaveAgain));
    }
  }
  return members;
}

}  // namespace dasm
