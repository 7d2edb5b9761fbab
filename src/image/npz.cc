// SPDX-License-Identifier: Apache-2.0
#include "image/npz.h"

#include <zip.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <string>

#include "core/error_format.h"

namespace nextscale {
namespace {

constexpr int64_t kChannels = 3;
constexpr const char* kEntryName = "arr_0.npy";

// The header of version 1.0 of the .npy format (numpy.lib.format): magic, version, the length of
// what follows, a Python dictionary padded with spaces so that data begin at a multiple of 64.
std::string npy_header(int64_t count, int64_t height, int64_t width) {
  constexpr size_t kAlignment = 64;
  constexpr size_t kFixedBytes = 10;  // magic, version and length
  std::string text =
      fmt::format("{{'descr': '|u1', 'fortran_order': False, 'shape': ({}, {}, {}, {}), }}", count,
                  height, width, kChannels);
  text.append(kAlignment - (kFixedBytes + text.size() + 1) % kAlignment, ' ');
  text += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(text.size() & 0xFF);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

// The bytes of the entry one after the other, as libzip asks for them.
class PictureStream {
 public:
  PictureStream(int64_t count, const std::function<Image(int64_t)>& picture)
      : count_(count), picture_(picture) {
    const Image first = picture(0);
    width_ = first.width;
    height_ = first.height;
    header_ = npy_header(count, height_, width_);
  }

  // Throws what picture() throws, and kMismatch.
  size_t read(char* out, size_t bytes) {
    size_t done = 0;
    while (done < bytes) {
      if (rest_.empty() && !advance()) break;
      const size_t piece = std::min(bytes - done, rest_.size());
      std::memcpy(out + done, rest_.data(), piece);
      rest_.remove_prefix(piece);
      done += piece;
    }
    return done;
  }

  void rewind() {
    next_ = 0;
    rest_ = header_;
  }

  uint64_t total_bytes() const {
    return header_.size() + static_cast<uint64_t>(count_ * height_ * width_ * kChannels);
  }

  // Called by libzip, in C: exceptions are kept and thrown again by rethrow().
  static zip_int64_t serve(void* self, void* data, zip_uint64_t length,
                           zip_source_cmd_t command) noexcept {
    return static_cast<PictureStream*>(self)->answer(data, length, command);
  }
  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  bool advance() {
    if (next_ == count_) return false;
    image_ = picture_(next_);
    if (image_.width != width_ || image_.height != height_) {
      fail(ErrorCode::kMismatch,
           "npz: picture {} has {}x{} pixels, wanted {}x{} as the first has; give pictures of one "
           "size",
           next_, image_.width, image_.height, width_, height_);
    }
    ++next_;
    rest_ = {reinterpret_cast<const char*>(image_.rgb.data()), image_.rgb.size()};
    return true;
  }

  zip_int64_t answer(void* data, zip_uint64_t length, zip_source_cmd_t command) noexcept {
    switch (command) {
      case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE,
                                              ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE,
                                              -1);
      case ZIP_SOURCE_OPEN:
        rewind();
        return 0;
      case ZIP_SOURCE_READ:
        try {
          return static_cast<zip_int64_t>(read(static_cast<char*>(data), length));
        } catch (...) {
          failure_ = std::current_exception();
          return -1;
        }
      case ZIP_SOURCE_STAT: {
        auto* stat = static_cast<zip_stat_t*>(data);
        zip_stat_init(stat);
        stat->valid = ZIP_STAT_SIZE | ZIP_STAT_MTIME;
        stat->size = total_bytes();
        stat->mtime = 0;  // equal pictures give equal files
        return sizeof(zip_stat_t);
      }
      case ZIP_SOURCE_ERROR: {
        const int codes[2] = {ZIP_ER_READ, 0};
        std::memcpy(data, codes, std::min<size_t>(length, sizeof(codes)));
        return sizeof(codes);
      }
      default:
        return 0;
    }
  }

  int64_t count_;
  const std::function<Image(int64_t)>& picture_;
  int64_t width_ = 0;
  int64_t height_ = 0;
  std::string header_;
  Image image_;
  std::string_view rest_;  // of the header, or of the picture before next_
  int64_t next_ = 0;
  std::exception_ptr failure_;
};

[[noreturn]] void fail_zip(const std::filesystem::path& path, const char* reason) {
  fail(ErrorCode::kIo,
       "npz: could not write {}: {}; check the folder, its permissions and free space",
       printable(path.string()), reason);
}

}  // namespace

void write_npz(const std::filesystem::path& path, int64_t count,
               const std::function<Image(int64_t)>& picture) {
  if (count < 1) {
    fail(ErrorCode::kUsage, "npz: got no picture for {}, wanted at least one",
         printable(path.string()));
  }
  PictureStream stream(count, picture);
  int code = 0;
  std::unique_ptr<zip_t, decltype(&zip_discard)> archive(
      zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code), zip_discard);
  if (archive == nullptr) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    fail_zip(path, reason.c_str());
  }
  zip_source_t* source = zip_source_function(archive.get(), PictureStream::serve, &stream);
  if (source == nullptr) fail_zip(path, zip_strerror(archive.get()));
  const zip_int64_t entry = zip_file_add(archive.get(), kEntryName, source, ZIP_FL_ENC_UTF_8);
  if (entry < 0) {
    zip_source_free(source);
    fail_zip(path, zip_strerror(archive.get()));
  }
  const bool is_set = zip_set_file_compression(archive.get(), static_cast<zip_uint64_t>(entry),
                                               ZIP_CM_STORE, 0) == 0;
  // Writes beside the file, then renames.
  if (!is_set || zip_close(archive.get()) != 0) {
    stream.rethrow();
    fail_zip(path, zip_strerror(archive.get()));
  }
  static_cast<void>(archive.release());  // zip_close() has freed it
}

}  // namespace nextscale
