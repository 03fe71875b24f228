from .denoiser import Denoiser
from .noise import noise_sd
from .tasks import DenoisingTask
