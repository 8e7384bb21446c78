// A folder for databases, for tests.
#ifndef DASM_SERVER_STORE_TEMPORARY_FOLDER_FOR_TESTS_H_
#define DASM_SERVER_STORE_TEMPORARY_FOLDER_FOR_TESTS_H_

#include <cstdlib>
#include <filesystem>
#include <string>

namespace dasm {

// Of this test alone, removed with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "dasm-store-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace dasm

#endif  // DASM_SERVER_STORE_TEMPORARY_FOLDER_FOR_TESTS_H_
