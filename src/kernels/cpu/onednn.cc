// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/onednn.h"

#include <omp.h>

#include <utility>

namespace nextscale::kernels::cpu {

OneDnnThreads::OneDnnThreads(int num_threads) : saved_(omp_get_max_threads()) {
  omp_set_num_threads(num_threads);
}

OneDnnThreads::~OneDnnThreads() { omp_set_num_threads(saved_); }

void fail_onednn(const char* part, const dnnl::error& error) {
  if (error.status == dnnl_out_of_memory) {
    fail(ErrorCode::kMemory, "memory: oneDNN could not allocate for {}; use a smaller batch", part);
  }
  fail(ErrorCode::kInternal, "{}: oneDNN refused: {} (status {}); please report this", part,
       error.message, static_cast<int>(error.status));
}

bool is_unimplemented(const dnnl::error& error) { return error.status == dnnl_unimplemented; }

dnnl::memory::data_type onednn_type(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return dnnl::memory::data_type::f32;
    case DType::kBF16:
      return dnnl::memory::data_type::bf16;
    case DType::kI8:
      return dnnl::memory::data_type::s8;
    default:
      fail(ErrorCode::kUnsupported, "kernels: got element type {}, wanted f32, bf16 or i8",
           dtype_name(dtype));
  }
}

void set_handle(const dnnl::memory& memory, const void* data) {
  const dnnl_status_t status = dnnl_memory_set_data_handle(memory.get(), const_cast<void*>(data));
  NEXTSCALE_ASSERT(status == dnnl_success);
}

void execute(const dnnl::primitive& primitive, const dnnl::stream& stream,
             std::span<const dnnl_exec_arg_t> arguments) {
  const dnnl_status_t status = dnnl_primitive_execute(
      primitive.get(), stream.get(), static_cast<int>(arguments.size()), arguments.data());
  NEXTSCALE_ASSERT(status == dnnl_success);
}

Tensor pack_weight(const dnnl::engine& engine, const ConstTensorView& source,
                   const dnnl::memory::dims& dims, dnnl::memory::format_tag plain,
                   const dnnl::memory::desc& packed) {
  Tensor result(DType::kU8, {static_cast<int64_t>(packed.get_size())});
  Tensor widened;  // oneDNN 2.6 cannot read f16 on a CPU
  ConstTensorView readable = source;
  if (source.dtype == DType::kF16) {
    widened = Tensor(DType::kF32, source.shape);
    copy_to_f32(source, {widened.as<float>(), static_cast<size_t>(source.shape.num_elements())});
    readable = std::as_const(widened).view();
  }
  dnnl::memory from({dims, onednn_type(readable.dtype), plain}, engine,
                    const_cast<void*>(readable.data));
  dnnl::memory to(packed, engine, result.as<uint8_t>());
  dnnl::stream stream(engine);
  dnnl::reorder(from, to).execute(stream, from, to);
  stream.wait();
  return result;
}

}  // namespace nextscale::kernels::cpu
