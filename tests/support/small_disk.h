// A real file system of a few megabytes, for tests of what happens when it is
// full. Needs root.
#ifndef DASM_TESTS_SUPPORT_SMALL_DISK_H_
#define DASM_TESTS_SUPPORT_SMALL_DISK_H_

#include <cstdint>
#include <string>

namespace dasm::testing_support {

// Gives this process and its children mounts of their own, which end with the
// last of them, however that ends. Once, before the first SmallDisk.
void UnshareMounts();

// Mounted at a folder, which is made; unmounted with its object.
class SmallDisk {
 public:
  SmallDisk(std::string folder, int64_t bytes);
  ~SmallDisk();
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  // With one file, until at most `left` bytes are free; 0: until nothing more
  // can be written.
  void Fill(int64_t left = 0);
  // Removes that file.
  void Free();
  int64_t free_bytes() const;

 private:
  const std::string folder_;
};

}  // namespace dasm::testing_support

#endif  // DASM_TESTS_SUPPORT_SMALL_DISK_H_
