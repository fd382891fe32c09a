mod manifests;
mod written;
