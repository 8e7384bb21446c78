#include "common/base/ids.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/error.h"
#include "common/base/logging.h"

namespace dasm {
namespace {

constexpr char kHex[] = "0123456789abcdef";
constexpr char kAlphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";

std::vector<uint8_t> RandomBytes(size_t count) {
  std::vector<uint8_t> bytes(count);
  size_t done = 0;
  while (done < count) {
    const ssize_t got = getrandom(bytes.data() + done, count - done, 0);
    DASM_CHECK(got > 0 || errno == EINTR);
    if (got > 0) done += got;
  }
  return bytes;
}

std::string ToHex(const std::vector<uint8_t>& bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (uint8_t byte : bytes) {
    text.push_back(kHex[byte >> 4]);
    text.push_back(kHex[byte & 15]);
  }
  return text;
}

// A DNS label: lower-case letters, digits and inner hyphens, at most 63.
bool IsLabel(absl::string_view text) {
  if (text.empty() || text.size() > 63) return false;
  if (text.front() == '-' || text.back() == '-') return false;
  for (char c : text) {
    const bool fine =
        (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
    if (!fine) return false;
  }
  return true;
}

}  // namespace

std::string NewUuid() {
  std::vector<uint8_t> bytes = RandomBytes(16);
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  std::string text = ToHex(bytes);
  for (int at : {8, 13, 18, 23}) text.insert(at, 1, '-');
  return text;
}

std::string NewJobId() {
  std::string id = "j";
  while (id.size() < 11) {
    for (uint8_t byte : RandomBytes(16)) {
      // 252 = 7 x 36: the rest would favour the first letters.
      if (byte < 252 && id.size() < 11) id.push_back(kAlphabet[byte % 36]);
    }
  }
  return id;
}

std::string RandomHex(int bytes) { return ToHex(RandomBytes(bytes)); }

std::string JobName::ToString() const {
  return absl::StrCat("projects/", project, "/jobs/", job);
}

absl::StatusOr<JobName> JobName::Parse(std::string_view text) {
  const std::vector<std::string> parts =
      absl::StrSplit(absl::string_view(text.data(), text.size()), '/');
  JobName name{"default", parts.back()};
  bool fine = parts.size() == 1;
  if (parts.size() == 2) fine = parts[0] == "jobs";
  if (parts.size() == 4) {
    fine = parts[0] == "projects" && parts[2] == "jobs";
    name.project = parts[1];
  }
  if (!fine || !IsLabel(name.project) || !IsLabel(name.job)) {
    return InvalidField(
        "name", absl::StrCat("\"", absl::string_view(text.data(), text.size()),
                             "\" is not the name of a job; write "
                             "projects/PROJECT/jobs/JOB, jobs/JOB or JOB"));
  }
  return name;
}

}  // namespace dasm
